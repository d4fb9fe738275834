"""A lock among threads and processes, reentrant. Blocks.

Used for dvc.yaml, which both a session and DVCLive write. DVCLive empties the file and then
fills it: a session that read it in between would lose all plots, metrics and comments. A session
replaces the file atomically, but an update of DVCLive that read it earlier would undo that.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import partial

from .file_io import WRITE, write_all

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# "paths": the paths of the locks that this thread holds.
_thread = threading.local()
# For each path: excludes the other threads of this process. Some network disks grant a lock on the
# file to everyone.
_thread_locks: dict[str, threading.Lock] = {}
if hasattr(os, "register_at_fork"):  # a thread that only the parent has may hold one
    os.register_at_fork(after_in_child=_thread_locks.clear)


class FileLock:
    """A lock on a file, which excludes other threads and other processes.

    Some platforms and file systems have no file locks, or locks that exclude no process. There it
    excludes only the other threads of this process.

    A thread that holds it must not wait for an event loop: the loop may wait for the lock.

    Args:
        path: the lock file; made when it is first needed.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the lock for the duration of the block. Reentrant. Blocks."""
        paths: set[str] = vars(_thread).setdefault("paths", set())
        if self.path in paths:  # for instance in a signal handler that interrupted the holder
            yield
            return
        paths.add(self.path)
        try:
            with _thread_locks.setdefault(self.path, threading.Lock()), self._acquired():
                yield
        finally:
            paths.discard(self.path)

    @contextlib.contextmanager
    def _acquired(self) -> Iterator[None]:
        fd = self._lock_file()
        if fd is None:
            yield
            return
        try:
            yield
        finally:
            # Closing alone would not release it if a forked process has the descriptor too.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _lock_file(self) -> int | None:
        """Wait for the lock on the file; return its descriptor, or None if it has no locks."""
        if fcntl is None:
            return None
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            os.close(fd)
            return None
        return fd


class LockedFile:
    """A small file whose lock this process holds: it is both the lock and the content.

    Args:
        path: the file.
        fd: its descriptor, with the lock.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    def read(self) -> bytes:
        """Return the whole content."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return b"".join(iter(partial(os.read, self._fd, 65536), b""))

    def append(self, data: bytes) -> None:
        """Write at the end."""
        os.lseek(self._fd, 0, os.SEEK_END)
        write_all(self._fd, data)

    def truncate(self) -> None:
        """Remove the content."""
        os.ftruncate(self._fd, 0)

    def release(self, remove: bool = False) -> None:
        """Release the lock and close the file.

        Args:
            remove: whether to remove the file as well.
        """
        if remove and fcntl is not None:  # before others can lock it
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                # Closing alone would not release it if a forked process has the descriptor too.
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        if remove and fcntl is None:  # Windows removes no open file
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def lock_if_free(path: str) -> LockedFile | None:
    """Open a file, which is made if it does not exist, and lock it; None: it is locked already.

    It excludes threads of this process too. Where there are no file locks, it excludes none.

    Raises:
        OSError: the file cannot be opened.
    """
    while True:
        fd = os.open(path, WRITE | os.O_CREAT, 0o666)
        if fcntl is None:
            return LockedFile(path, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:  # a file system without locks
            return LockedFile(path, fd)
        # The holder may have removed the file after it was opened here.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return LockedFile(path, fd)
        os.close(fd)
