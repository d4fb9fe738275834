"""Wait until written bytes and names are on the disk, for ``durable=True``. Blocks.

Code that writes always calls ``Sync``, which decides whether to wait.

Each file is synced on its own. ``syncfs``, a barrier over the whole file system, was as fast in
trials: the worker threads sync several files in parallel, and the file system batches them. But
``syncfs`` also waits for the writes of every other program, such as a checkpoint being saved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

if sys.platform == "darwin":
    import fcntl

# Errors that mean: this file system cannot sync directories, or is a network file system.
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
_FILE: int = (
    # Windows flushes only files that are open for writing.
    (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    | _O_CLOEXEC
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe that replaced it must not block the thread
)
_DIRECTORY: int = os.O_RDONLY | _O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)


@dataclass(frozen=True, slots=True)
class Sync:
    """Waits for the disk if it is enabled; otherwise its methods do nothing.

    Every method raises OSError if the disk reports an error. The state on the disk is then unknown.
    """

    top: str | None = None
    """The directory of the repository: ``with_parents`` goes up to it. None: disabled."""

    @property
    def is_enabled(self) -> bool:
        return self.top is not None

    def fd(self, fd: int) -> None:
        """Sync the bytes and the permissions of an open file."""
        if self.is_enabled:
            _sync(fd)

    def data(self, fd: int) -> None:
        """Sync the bytes of an open file. Enough if a call of ``fd`` follows."""
        if self.is_enabled:
            getattr(os, "fdatasync", os.fsync)(fd)

    def file(self, path: str) -> None:
        """Sync a file by its path. Does nothing for a symbolic link: its directory contains it."""
        if not self.is_enabled or os.path.islink(path):
            return
        try:
            fd = os.open(path, _FILE)
        except PermissionError:
            if sys.platform == "win32":  # Windows cannot flush a read-only file by its path
                return
            raise
        try:
            _sync(fd)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)

    def directory(self, path: str) -> None:
        """Sync the names in a directory."""
        if not self.is_enabled or sys.platform == "win32":  # Windows needs no sync of names
            return
        fd = os.open(path, _DIRECTORY)
        try:
            _sync(fd, ignored=_UNSUPPORTED)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)

    def with_parents(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield directories, and their parents in the repository, which may be new; each once."""
        seen: set[str] = set()
        if self.top is None:
            return
        for path in paths:
            while path not in seen:
                seen.add(path)
                yield path
                if not path.startswith(self.top.rstrip(os.sep) + os.sep):
                    break
                path = os.path.dirname(path)

    def up_to_mount_point(self, path: str) -> None:
        """Sync a directory and all its parents in the file system: they may all be new.

        Skips a directory that cannot be read: another user made it.
        """
        while self.is_enabled:
            with contextlib.suppress(PermissionError):
                self.directory(path)
            if os.path.ismount(path):
                return
            path = os.path.dirname(path)


NO_SYNC = Sync()


def _sync(fd: int, ignored: tuple[int, ...] = ()) -> None:
    try:
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync leaves bytes in the cache of the drive
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
            else:
                return
        os.fsync(fd)
    except OSError as error:
        if error.errno not in ignored:
            raise
