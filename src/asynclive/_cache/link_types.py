"""Workspace files from cache objects, as ``cache.type`` says; and copying bytes in the kernel.

Blocking, called from worker threads. Where behaviour comes from DVC it is that of
``dvc_data.hashfile.checkout`` (``_needs_relink``, ``_checkout_file``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from .._artifact.plan import PlannedFile
from .._fs.kernel_copy import copy_file
from .cache_layout import CacheLayout


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
            return None if planned.link_target == object_path else _copy_for_reflink(first)
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
