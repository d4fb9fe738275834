"""Make workspace files from cache objects: reflink, hardlink, symlink or copy (``cache.type``).

The rules are those of ``dvc_data.hashfile.checkout`` (``_needs_relink``, ``_checkout_file``).
Blocks; call it in a worker thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from .._artifact.plan import PlannedFile
from .._fs.file_io import set_mode
from .._fs.kernel_copy import copy_file
from .cache_layout import CacheLayout

# Errors that mean: there can be no such link at this path.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def link_type(
    layout: CacheLayout,
    planned: PlannedFile,
    *,
    copied: bool,
    isdir: bool,
    object_path: str,
    isnew: bool,
) -> str | None:
    """Return the link type by which DVC would replace a workspace file; None: it keeps the file.

    There are five cases:

    1. No link type works. DVC keeps the file.
    2. A single file. DVC makes it anew, by the first type that works.
    3. A new object, and ``cache.type`` begins with hardlink. DVC hard-links it at once.
    4. The file is plain, a hard link or a symlink, and ``cache.type`` has that type. DVC keeps
       it, unless it is a link to another file.
    5. Otherwise DVC makes it anew, by the first type that works.

    Args:
        layout: the cache, and the link types that work.
        planned: the file.
        copied: whether the workspace file is a plain copy of it.
        isdir: whether the artifact is a directory. In a directory DVC keeps plain files if
            ``cache.type`` allows a copy, but it always makes a single file anew.
        object_path: the object of the file.
        isnew: whether the object is new to the cache. DVC hard-links new objects from the
            workspace at once, and old ones only on checkout.
    """
    islink = planned.islink and not copied
    ishard = planned.nlink > 1 and not copied
    if not layout.links:
        return None  # case 1
    first = layout.links[0]
    if not isdir:
        return _copy_for_reflink(first)  # case 2
    if layout.types[0] == "hardlink" and isnew and planned.size:
        return "hardlink"  # case 3
    for kind in layout.types:  # case 4
        if kind in ("copy", "reflink") and not islink and not ishard:
            return None
        if kind == "hardlink" and ishard:
            same = planned.inode == os.stat(object_path).st_ino
            return None if same else _copy_for_reflink(first)
        if kind == "symlink" and islink:
            return None if planned.link_target == object_path else _copy_for_reflink(first)
    return _copy_for_reflink(first)  # case 5


def leaves_plain_files(layout: CacheLayout, isdir: bool) -> bool:
    """Return whether DVC leaves a plain file as one with its own bytes, and not as a link.

    In a directory it keeps the file. A single file it makes anew, with the same bytes.
    """
    if not layout.links:
        return True
    if isdir:
        return layout.types[0] != "hardlink" and not {"copy", "reflink"}.isdisjoint(layout.types)
    return layout.links[0] in ("copy", "reflink")


def _copy_for_reflink(kind: str) -> str:
    # copy_file shares blocks with the object if the file system can.
    return "copy" if kind == "reflink" else kind


def make_link(
    kind: str,
    object_path: str,
    size: int,
    path: str,
    layout: CacheLayout,
    checkpoint: Callable[[], None] = lambda: None,
) -> None:
    """Make the new file ``path`` from an object.

    Args:
        kind: the link type.
        object_path: the object.
        size: its size in bytes.
        path: the new file; must not exist.
        layout: the cache; has the mode of a copy.
        checkpoint: called after each step of a copy; raises to stop.

    Raises:
        OSError: the file system cannot, or ``path`` exists.
    """
    # DVC never hard-links empty files: they would all share one inode.
    if not (kind == "hardlink" and size and _try_link(os.link, object_path, path)) and not (
        kind == "symlink" and _try_link(os.symlink, object_path, path)
    ):
        with open(object_path, "rb") as source:
            copy_file(source.fileno(), path, checkpoint)
        set_mode(path, layout.copy_mode if size else 0o666 & ~layout.umask)


def _try_link(make: Callable[[str, str], None], object_path: str, path: str) -> bool:
    """Make a link; return False if this disk cannot have it, although that of others can."""
    try:
        make(object_path, path)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def add_exec(path: str) -> None:
    """Set u+x, through links, as DVC does to a file whose .dvc says ``isexec``."""
    set_mode(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IXUSR)
