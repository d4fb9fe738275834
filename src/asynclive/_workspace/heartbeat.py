"""Renews the mtime of files at intervals: other hosts see that the session still runs. Blocks."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from .._errors import ResourceLimitError

# Seconds between two heartbeats: rare enough to cost nothing, even on a network disk.
INTERVAL = 20.0


class Heartbeat:
    """A thread that renews the mtime of open files until it is stopped.

    A thread, and not a task: a program may block its event loop for longer than a session may be
    silent.

    Args:
        fds: the descriptors of the files; they stay open until ``stop`` has returned.

    Raises:
        ResourceLimitError: the system has no thread to spare.
    """

    def __init__(self, fds: Sequence[int]) -> None:
        self._fds = fds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asynclive-heartbeat", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ResourceLimitError from error

    def stop(self) -> None:
        """Stop the thread, and wait for its end."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            for fd in self._fds:
                # A disk that fails for a moment costs one heartbeat.
                with suppress(OSError):
                    renew(fd)


def renew(fd: int) -> None:
    """Set the mtime of an open file to now, by the clock of its disk."""
    os.utime(fd)
