"""Whose turn it is at dvc.yaml: a session's, or that of who writes into the file itself.

DVCLive empties dvc.yaml and then fills it. Who reads it in between sees no plots, no metrics and
nobody's comments, and would write just that. A session replaces the file at once, but an update
of DVCLive's that had read it before writes what it has read.
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

_mine = threading.local()


class FileLock:
    """Held for a look at dvc.yaml, or a change of it. Blocks; nobody waits for an event loop in it.

    A lock on a file, so that it holds between processes; where there are none, it holds between
    the threads of this one.

    Args:
        path: the file, made when first needed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for it, and have it to the end of the block; in a block within, it is had."""
        taken: set[str] = vars(_mine).setdefault("paths", set())
        if self.path in taken:  # by what a signal has interrupted
            yield
            return
        taken.add(self.path)
        try:
            with self._taken():
                yield
        finally:
            taken.discard(self.path)

    @contextlib.contextmanager
    def _taken(self) -> Iterator[None]:
        fd = self._lock()
        if fd is None:
            with self._threads:
                yield
            return
        try:
            yield
        finally:
            # Not by closing alone: a process forked meanwhile has the descriptor too.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _lock(self) -> int | None:
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
