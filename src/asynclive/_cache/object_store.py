"""The DVC cache as a place to put bytes: temp file, hash, publish by rename. No DVC, no loop.

Every function here blocks and is called from worker threads; ``ObjectStore`` is thread-safe.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Iterable

from .._fs.file_io import (
    UNNAMED,
    WRITE,
    is_object,
    link_new,
    make_dir,
    remove_file,
    set_mode,
    write_new,
)
from .cache_layout import CacheLayout


class ObjectStore:
    """Puts bytes into the cache under their MD5."""

    def __init__(self, layout: CacheLayout, prefix: str = "") -> None:
        self.layout = layout
        self._prefix = prefix  # tells the temp files of one process from another's
        self._numbers = itertools.count()
        # One lock a cache directory: between looking for an object and renaming ours into
        # its place, no other thread may publish the same bytes, or hard links made to the
        # one would be left on a nameless inode when the other replaces it.
        self._locks = tuple(threading.Lock() for _ in range(256))
        self._unnamed = bool(UNNAMED)

    def object_path(self, md5: str) -> str:
        return f"{self.layout.cache_dir}{os.sep}{md5[:2]}{os.sep}{md5[2:]}"

    def temp_path(self) -> str:
        return f"{self.layout.cache_tmp}{os.sep}{self._prefix}{next(self._numbers)}"

    def workspace_temp_path(self) -> str:
        return f"{self.layout.workspace_tmp}{os.sep}{self._prefix}{next(self._numbers)}"

    def has(self, md5: str, size: int) -> bool:
        """Whether the object is there and was not touched since DVC protected it."""
        try:
            found = os.stat(self.object_path(md5), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return is_object(found, size, self.layout.object_mode)

    def has_synced(self, md5: str, size: int) -> bool:
        """As ``has``; and where it is wanted, its bytes are on the disk, whoever wrote them."""
        if not self.has(md5, size):
            return False
        self.layout.sync.file(self.object_path(md5))
        return True

    def put(self, data: bytes, md5: str) -> bool:
        """Store ``data``, whose hash is ``md5``; whether it was new."""
        path = self.object_path(md5)
        with self._locks[int(md5[:2], 16)]:
            # Asked first, for most are new: a stat of what is not there costs an exception.
            if os.access(path, os.F_OK) and self.has_synced(md5, len(data)):
                return False
            if self._unnamed and self._put_unnamed(data, path):
                return True
            if self.has_synced(md5, len(data)):  # published by another process meanwhile
                return False
            temp = self.temp_path()
            try:
                # Nobody else can look into the directory of temp files.
                write_new(temp, data, self.layout.object_mode, sync=self.layout.sync)
                self._rename(temp, md5)
            except BaseException:
                remove_file(temp)
                raise
            return True

    def _put_unnamed(self, data: bytes, path: str) -> bool:
        """Store by a file that has no name before it is whole; whether that was possible."""
        mode, sync = self.layout.object_mode, self.layout.sync
        try:
            try:
                link_new(path, data, mode, sync)
            except FileNotFoundError:
                make_dir(os.path.dirname(path), self.layout.dir_mode)
                link_new(path, data, mode, sync)
        except FileExistsError:
            return False  # one that was touched, or that another process has just published
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            self._unnamed = False  # not here, so do not try again
            return False
        return True

    def publish(self, temp: str, md5: str, size: int) -> bool:
        """Give the finished file ``temp`` the name of its hash; whether it was new.

        ``temp`` is gone afterwards: renamed, or removed where the object was there.
        """
        if self.layout.sync.is_enabled:  # outside of the lock: it may take as long as the disk
            self._sync_object(temp)
        with self._locks[int(md5[:2], 16)]:
            if self.has_synced(md5, size):
                os.unlink(temp)
                return False
            os.chmod(temp, self.layout.object_mode)
            self._rename(temp, md5)
            return True

    def _sync_object(self, temp: str) -> None:
        fd = os.open(temp, WRITE)
        try:
            set_mode(fd, temp, self.layout.object_mode)
            self.layout.sync.fd(fd)
        finally:
            os.close(fd)

    def sync_names(self, hashes: Iterable[str]) -> None:
        """Wait until the objects' names are on the disk; their bytes are."""
        for prefix in sorted({md5[:2] for md5 in hashes}):
            self.layout.sync.directory(f"{self.layout.cache_dir}{os.sep}{prefix}")
        self.layout.sync.directory(self.layout.cache_dir)

    def _rename(self, temp: str, md5: str) -> None:
        path = self.object_path(md5)
        try:
            os.replace(temp, path)
        except FileNotFoundError:
            make_dir(os.path.dirname(path), self.layout.dir_mode)
            os.replace(temp, path)


# What says that this file system cannot open a file that has no name, or that there is no /proc
# to name it by.
_NO_UNNAMED = (
    errno.EOPNOTSUPP,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EXDEV,
    errno.EPERM,
)
