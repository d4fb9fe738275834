"""The directories, modes and link types of this cache."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .._fs.fsync import NO_SYNC, Sync


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """What DVC says of this repository's cache, read once on entering."""

    root: str
    """Directory of the DVC repository."""
    cache_dir: str
    """Where objects lie, as ``<cache_dir>/ab/cdef...``."""
    types: tuple[str, ...]
    """``cache.type`` as configured."""
    links: tuple[str, ...]
    """Those of ``types`` that work between cache and workspace here, in the same order. None at
    all: files are tracked and stay as they are (DVC's ``CacheLinkError``, which it prints)."""
    object_mode: int
    dir_mode: int
    """Mode of directories in the cache (``cache.shared``)."""
    file_mode: int
    """Mode of a workspace file that DVC unprotects (``cache.shared``)."""
    umask: int
    cache_tmp: str
    """This session's directory on the file system of the cache."""
    workspace_tmp: str
    """This session's directory on the file system of the workspace, hidden from Git."""
    sync: Sync = NO_SYNC
    """What waits for the disk."""

    @property
    def hash_cache_dir(self) -> str:
        """Where is written down what is known of artifacts that were logged."""
        return os.path.join(os.path.dirname(self.workspace_tmp), "asynclive")

    @property
    def uses_reflinks(self) -> bool:
        """Copies are to be clones, which the file system can make."""
        return self.links[:1] == ("reflink",)

    @property
    def copy_mode(self) -> int:
        """Mode of a file that DVC copies out of the cache."""
        return self.file_mode if self.types[0] == "copy" else 0o666 & ~self.umask
