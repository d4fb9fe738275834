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
