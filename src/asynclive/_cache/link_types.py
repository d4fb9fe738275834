"""Workspace files from cache objects, as ``cache.type`` says; and copying bytes in the kernel.

Blocking, called from worker threads. Where behaviour comes from DVC it is that of
``dvc_data.hashfile.checkout`` (``_needs_relink``, ``_checkout_file``).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable

from .._artifact.plan import PlannedFile
from .object_store import CacheLayout, create, write_all

# What the kernel or a file system answers where it cannot do it at all.
_UNSUPPORTED = (
    errno.EXDEV,
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
)

_FICLONE = 0x40049409  # linux/fs.h
# One step of a copy: long enough to cost nothing, short enough to be cancelled and to
# give way to a small artifact in a few hundredths of a second.
COPY_STEP_BYTES = 16 * 2**20


def link_type(
    layout: CacheLayout,
    planned: PlannedFile,
    *,
    copied: bool,
    isdir: bool,
    object_path: str,
    isnew: bool,
) -> str | None:
    """How the workspace file of ``planned`` comes to be, or None: it stays the file it is.

    Args:
        layout: the cache and the link types that work.
        planned: the file.
        copied: the workspace file is a plain copy of it.
        isdir: it is part of a directory. DVC leaves plain files there alone where
            ``cache.type`` allows a copy, but makes a single file anew.
        object_path: its object in the cache.
        isnew: the object was not there before. DVC hard-links new objects straight from
            the workspace, old ones only when it checks out.
    """
    islink = planned.islink and not copied
    ishard = planned.nlink > 1 and not copied
    if not layout.links:
        return None
    first = layout.links[0]
    if not isdir:
        return "copy" if first == "reflink" else first
    if layout.types[0] == "hardlink" and isnew and planned.size:
        return "hardlink"
    for kind in layout.types:
        if kind in ("copy", "reflink") and not islink and not ishard:
            return None
        if kind == "hardlink" and ishard:
            same = planned.inode == os.stat(object_path).st_ino
            return None if same else _copy_for_reflink(first)
        if kind == "symlink" and islink:
            return None if planned.leads_to == object_path else _copy_for_reflink(first)
    return _copy_for_reflink(first)


def leaves_plain_files(layout: CacheLayout, isdir: bool) -> bool:
    """Whether a file that is no link is left with bytes of its own, whatever is new.

    One in a directory stays as it is, a single one is made anew with the same bytes.
    """
    if not layout.links:
        return True
    if isdir:
        return layout.types[0] != "hardlink" and not {"copy", "reflink"}.isdisjoint(layout.types)
    return layout.links[0] in ("copy", "reflink")


def _copy_for_reflink(kind: str) -> str:
    # The copy below shares its blocks where the file system can.
    return "copy" if kind == "reflink" else kind


def make_link(
    kind: str,
    object_path: str,
    size: int,
    path: str,
    layout: CacheLayout,
    checkpoint: Callable[[], None] = lambda: None,
) -> None:
    """Make the new workspace file ``path``, which does not exist, from an object.

    Args:
        kind: link type; a copy is made step by step, with ``checkpoint`` called after each.
        object_path: the object.
        size: its size in bytes.
        path: the new file.
        layout: says what mode it gets.
        checkpoint: raises to stop.

    Raises:
        OSError: the file system refuses.
    """
    if kind == "hardlink" and size:
        os.link(object_path, path)
    elif kind == "symlink":
        os.symlink(object_path, path)
    else:
        # DVC never hard-links empty files: they would all share one inode.
        with open(object_path, "rb") as source:
            copy_file(source.fileno(), path, checkpoint)
        os.chmod(path, layout.copy_mode if size else 0o666 & ~layout.umask)


def add_exec(path: str) -> None:
    """Set u+x, through links, as DVC does to a file whose .dvc says ``isexec``."""
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def copy_file(source_fd: int, path: str, checkpoint: Callable[[], None]) -> None:
    """Copy an open file from its start into the new, private file ``path``."""
    target_fd = create(path)
    try:
        offset = 0
        while copied := copy_step(source_fd, target_fd, offset):
            offset += copied
            checkpoint()
    finally:
        os.close(target_fd)


def clone(source_fd: int, target_fd: int) -> bool:
    """Make the empty file share all blocks of the other; whether the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    return True


def copy_step(source_fd: int, target_fd: int, offset: int, count: int = COPY_STEP_BYTES) -> int:
    """Copy up to ``count`` bytes at ``offset``; returns how many, 0 at the end.

    In the kernel where it can: ``copy_file_range`` shares the blocks on file systems with
    reflinks, and saves the way through user space elsewhere.
    """
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source_fd, target_fd, count, offset, offset)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    os.lseek(source_fd, offset, os.SEEK_SET)
    os.lseek(target_fd, offset, os.SEEK_SET)
    data = os.read(source_fd, min(count, 2**20))
    write_all(target_fd, data)
    return len(data)
