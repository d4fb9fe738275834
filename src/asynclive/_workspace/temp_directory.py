"""TempDirectory: a private directory in a place that is shared with other repositories. Blocks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from .heartbeat import Heartbeat
from .temp_session import make_locked, remove_session


@dataclass(eq=False, slots=True)
class TempDirectory:
    """A private directory, locked so that no other process removes it.

    ``start`` makes it, ``close`` removes it.
    """

    path: str
    _lock: int | None
    _heartbeat: Heartbeat | None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _process: int = field(default_factory=os.getpid)

    @classmethod
    def start(cls, parent: str) -> TempDirectory:
        """Make a temp directory in ``parent``.

        Raises:
            OSError: it cannot be made. None is left.
            ResourceLimitError: no thread can be started for the heartbeat. None is left.
        """
        locks: dict[str, int] = {}
        path = make_locked(os.path.join(parent, ".asynclive-"), locks)
        lock, heartbeat = locks.get(path), None
        if lock is not None and os.utime in os.supports_fd:
            try:
                heartbeat = Heartbeat([lock])
            except BaseException:
                remove_session(path, lock)
                raise
        return cls(path, lock, heartbeat)

    def exists(self) -> bool:
        """Return whether the directory is there: a user may have removed it."""
        return os.path.isdir(self.path)

    def new_path(self) -> str:
        """Return a new temp path in the directory."""
        return os.path.join(self.path, str(next(self._numbers)))

    def close(self) -> None:
        """Remove the directory. If that fails, log a warning: a later process tries again.

        Does nothing in a forked child: the parent still uses it.
        """
        if os.getpid() != self._process:
            return
        if self._heartbeat is not None:
            self._heartbeat.stop()
        remove_session(self.path, self._lock)
