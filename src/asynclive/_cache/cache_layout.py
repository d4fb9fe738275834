"""The directories, modes and link types of the cache of one repository."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from .._fs.fsync import NO_SYNC, Sync


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """The cache as DVC's configuration describes it. Read once, when a session starts."""

    root: str
    """Directory of the DVC repository."""
    cache_dir: str
    """The cache. An object with MD5 ``abcdef…`` is at ``<cache_dir>/ab/cdef…``."""
    types: tuple[str, ...]
    """``cache.type`` as configured."""
    links: tuple[str, ...]
    """Those of ``types`` that work between cache and workspace, in the same order. If empty, files
    are tracked and stay as they are (DVC prints a ``CacheLinkError``)."""
    object_mode: int
    """Mode of objects in the cache."""
    dir_mode: int
    """Mode of directories in the cache (``cache.shared``)."""
    file_mode: int
    """Mode of a workspace file that DVC unprotects (``cache.shared``)."""
    umask: int
    cache_tmp: str
    """Temp directory of this session, on the file system of the cache."""
    workspace_tmp: str
    """Temp directory of this session, on the file system of the workspace; Git ignores it."""
    protects_objects: bool = True
    """Whether objects can be write-protected. Otherwise an object is read to know that its bytes
    are unchanged."""
    keeps_modes: bool = True
    """Whether files of the workspace get the permissions that they are given."""
    sync: Sync = NO_SYNC
    """Waits until written bytes are on the disk."""

    @property
    def hash_cache_dir(self) -> str:
        """The directory of the hash cache."""
        return os.path.join(os.path.dirname(self.workspace_tmp), "asynclive")

    @property
    def uses_reflinks(self) -> bool:
        """Whether copies are reflinks, which share their blocks with the object."""
        return self.links[:1] == ("reflink",)

    def on_other_disk(self) -> CacheLayout:
        """Return the layout for workspace files on another disk: some links do not reach it."""
        links = tuple(kind for kind in self.links if kind not in ("reflink", "hardlink"))
        return replace(self, links=links)

    @property
    def copy_mode(self) -> int:
        """Mode of a file that DVC copies out of the cache."""
        return self.file_mode if self.types[0] == "copy" else 0o666 & ~self.umask
