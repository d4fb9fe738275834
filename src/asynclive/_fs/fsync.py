"""Waits until what was written is on the disk, and not in memory only. Off unless it is asked for.

``Sync`` is the one place where that is decided: whoever writes calls it in any case.

Each file is synced by itself. A barrier over the whole file system (``syncfs``) was as fast in
trials, since the file workers sync several files at once, which the file system writes down
together. But it waits for what every other program has written, a checkpoint being saved, too.

Blocking, and without anything of ours.
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

# What says that this file system has no such thing, for a directory, or on a network.
_NOT_HERE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
_FILE: int = (
    # Windows flushes only what it could write to.
    (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    | _O_CLOEXEC
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe that took its place must not hold the thread
)
_DIRECTORY: int = os.O_RDONLY | _O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)


@dataclass(frozen=True, slots=True)
class Sync:
    """Waits for the disk, or does not.

    Every method raises OSError where the disk refused: nobody knows then what is on it.
    """

    top: str | None = None
    """The repository: of the directories in it, those above are synced too, as far as this one.
    None: nothing is waited for."""

    @property
    def is_enabled(self) -> bool:
        return self.top is not None

    def fd(self, fd: int) -> None:
        """The bytes and the permissions of an open file."""
        if self.is_enabled:
            _sync(fd)

    def data(self, fd: int) -> None:
        """The bytes of an open file: enough where ``fd`` follows."""
        if self.is_enabled:
            getattr(os, "fdatasync", os.fsync)(fd)

    def file(self, path: str) -> None:
        """A file by its path. A symbolic link is part of its directory: there is nothing to do."""
        if not self.is_enabled or os.path.islink(path):
            return
        try:
            fd = os.open(path, _FILE)
        except PermissionError:
            if sys.platform == "win32":  # what is read-only there cannot be flushed by path
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
        """The names in a directory."""
        if not self.is_enabled or sys.platform == "win32":  # which writes them down by itself
            return
        fd = os.open(path, _DIRECTORY)
        try:
            _sync(fd, unless=_NOT_HERE)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)

    def with_parents(self, paths: Iterable[str]) -> Iterator[str]:
        """Directories, each once, and those above them in the repository, which may be new."""
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
        """A directory that may just have been made with all that is above it, as far as can be
        read: what cannot was made by others."""
        while self.is_enabled:
            with contextlib.suppress(PermissionError):
                self.directory(path)
            if os.path.ismount(path):
                return
            path = os.path.dirname(path)


NO_SYNC = Sync()


def _sync(fd: int, unless: tuple[int, ...] = ()) -> None:
    try:
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync leaves it in the drive's memory there
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            else:
                return
        os.fsync(fd)
    except OSError as error:
        if error.errno not in unless:
            raise
