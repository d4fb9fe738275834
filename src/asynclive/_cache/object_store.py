"""Store bytes in the DVC cache: temp file, hash, publish by rename. No DVC.

Blocks; call it in worker threads. ``ObjectStore`` is thread-safe.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping

from .._fs.change_detection import Stamp
from .._fs.file_io import (
    READ,
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

# Bytes of one read of an object that must be hashed.
_READ_BYTES = 2**20


class ObjectStore:
    """Stores bytes in the cache under their MD5.

    Args:
        layout: the cache.
        prefix: of the names of temp files; differs between processes that share a session.
    """

    def __init__(self, layout: CacheLayout, prefix: str = "") -> None:
        self.layout = layout
        self._prefix = prefix
        self._numbers = itertools.count()
        # One lock for each directory of the cache, held from the check for an object until the
        # rename of ours. Otherwise two threads could publish the same bytes: the second one would
        # replace the object of the first, to which hard links may exist already.
        self._locks = tuple(threading.Lock() for _ in range(256))
        self._unnamed = bool(UNNAMED)
        # Where objects cannot be write-protected: the stamps of those that were read and had the
        # right bytes. Bounded by the objects that this session needs again.
        self._verified: dict[str, Stamp] = {}

    def object_path(self, md5: str) -> str:
        return f"{self.layout.cache_dir}{os.sep}{md5[:2]}{os.sep}{md5[2:]}"

    def temp_path(self) -> str:
        """Return a new temp path on the file system of the cache."""
        return f"{self.layout.cache_tmp}{os.sep}{self._prefix}{next(self._numbers)}"

    def workspace_temp_path(self, directory: str = "") -> str:
        """Return a new temp path on the file system of the workspace, or in ``directory``."""
        directory = directory or self.layout.workspace_tmp
        return f"{directory}{os.sep}{self._prefix}{next(self._numbers)}"

    def has(self, md5: str, size: int, checkpoint: Callable[[], None] = lambda: None) -> bool:
        """Return whether the object exists, with unchanged bytes.

        There are two proofs, which are those of DVC (``LocalHashFileDB.check``):

        1. Its mode. DVC write-protects an object, so its bytes are those of then.
        2. If the cache cannot write-protect objects: its bytes, which are read and hashed.

        Args:
            md5: its name.
            size: its size in bytes.
            checkpoint: called while it is read; raises to stop.
        """
        path = self.object_path(md5)
        try:
            found = os.stat(path, follow_symlinks=False)
            if is_object(found, size, self.layout.object_mode):
                return True  # 1.
            if self.layout.protects_objects or not stat.S_ISREG(found.st_mode):
                return False
            return found.st_size == size and self._is_intact(md5, found, checkpoint)  # 2.
        except FileNotFoundError:
            return False

    def _is_intact(self, md5: str, found: os.stat_result, checkpoint: Callable[[], None]) -> bool:
        """Read an object; return whether it has the bytes of its name."""
        stamp = found.st_ino, found.st_size, found.st_mtime_ns
        if self._verified.get(md5) == stamp:
            return True
        digest = hashlib.md5(usedforsecurity=False)
        fd = os.open(self.object_path(md5), READ)
        try:
            while data := os.read(fd, _READ_BYTES):
                checkpoint()
                digest.update(data)
        finally:
            os.close(fd)
        if digest.hexdigest() != md5.partition(".")[0]:
            return False
        self._verified[md5] = stamp
        return True

    def missing(self, sizes: Mapping[str, int]) -> set[str]:
        """Return those hashes whose objects do not exist, or have another size.

        A full disk or a crash may leave an object that is cut off. One system call each: a listing
        of the cache's directories would cost more the more objects other artifacts have.

        Args:
            sizes: the bytes of each object, by its hash.
        """
        start = f"{self.layout.cache_dir}{os.sep}"
        return {
            md5
            for md5, size in sizes.items()
            if _size(f"{start}{md5[:2]}{os.sep}{md5[2:]}") != size
        }

    def has_listing(self, md5: str) -> bool:
        """Return whether the object that lists a directory exists, with unchanged bytes.

        Its size is unknown, so it is read, once a session.

        Args:
            md5: its name.
        """
        try:
            found = os.stat(self.object_path(md5))
            return self._is_intact(md5, found, lambda: None)
        except FileNotFoundError:
            return False

    def has_synced(
        self, md5: str, size: int, checkpoint: Callable[[], None] = lambda: None
    ) -> bool:
        """Return ``has``. With ``durable=True``, wait until the bytes are on the disk: the process
        that wrote them may not have waited."""
        if not self.has(md5, size, checkpoint):
            return False
        self.layout.sync.file(self.object_path(md5))
        return True

    def put(self, data: bytes, md5: str) -> bool:
        """Store ``data``, whose hash is ``md5``; return whether the object is new.

        There are three cases:

        1. The object exists. Do nothing.
        2. The platform has files without a name. Write one, then link it to the object's path.
        3. Otherwise, or if a damaged object is at that path: write a temp file and rename it.
        """
        path = self.object_path(md5)
        with self._locks[int(md5[:2], 16)]:
            # os.access first: most objects are new, and a failing stat costs an exception.
            if os.access(path, os.F_OK) and self.has_synced(md5, len(data)):
                return False  # case 1
            if self._unnamed and self._put_unnamed(data, path):
                return True  # case 2
            if self.has_synced(md5, len(data)):
                return False  # case 1: another process has just published it
            temp = self.temp_path()
            try:
                # write_new needs a private directory, which that of temp files is.
                write_new(temp, data, self.layout.object_mode, sync=self.layout.sync)
                self._rename(temp, md5)
            except BaseException:
                remove_file(temp)
                raise
            return True

    def _put_unnamed(self, data: bytes, path: str) -> bool:
        """Store by a file that has no name until it is complete; return whether that worked."""
        mode, sync = self.layout.object_mode, self.layout.sync
        try:
            try:
                link_new(path, data, mode, sync)
            except FileNotFoundError:
                make_dir(os.path.dirname(path), self.layout.dir_mode)
                link_new(path, data, mode, sync)
        except FileExistsError:
            return False  # a changed object, or one that another process has just published
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            self._unnamed = False  # this file system cannot, so do not try again
            return False
        return True

    def publish(self, temp: str, md5: str, size: int) -> bool:
        """Rename the complete file ``temp`` to its object; return whether the object is new.

        If the object exists, remove ``temp`` instead.
        """
        if self.layout.sync.is_enabled:  # before the lock: the disk may take long
            self._sync_object(temp)
        with self._locks[int(md5[:2], 16)]:
            if self.has_synced(md5, size):
                os.unlink(temp)
                return False
            set_mode(temp, self.layout.object_mode)
            self._rename(temp, md5)
            return True

    def _sync_object(self, temp: str) -> None:
        fd = os.open(temp, WRITE)
        try:
            set_mode(temp, self.layout.object_mode, fd)
            self.layout.sync.fd(fd)
        finally:
            os.close(fd)

    def sync_names(self, hashes: Iterable[str]) -> None:
        """Wait until the names of objects are on the disk, whose bytes already are."""
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


# Errors that mean: this file system has no files without a name, or there is no /proc to link them.
_NO_UNNAMED = (
    errno.EOPNOTSUPP,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EXDEV,
    errno.EPERM,
)


def _size(path: str) -> int | None:
    """Return the bytes of a file; None: it cannot be reached."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None
