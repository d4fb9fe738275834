"""Decides whether a worker process still answers and makes progress, while its block is left."""

from __future__ import annotations

import math
from typing import Any

from .messages import BEAT_SECONDS, Beat

# A worker that answers may wait for a slow disk, or write a large file to it: it gets so many times
# the time of one that does not answer.
STALL_FACTOR = 10
# The limit if the caller's deadline has passed, or its block ended by an exception (seconds).
HURRY_SECONDS = 10.0
# The least time without a message that means something (seconds).
_LEAST = 3 * BEAT_SECONDS
# The part of a processor that counts as progress. A worker that only waits uses less.
_BUSY_SHARE = 0.02


class WorkerWatch:
    """Counts the seconds since the worker answered, and since it made progress.

    Only seconds in which this process runs count: a batch system may stop both processes, or the
    machine may sleep.

    Args:
        leave_timeout: seconds for a worker that does not answer; None: no limit.
        lock_timeout: seconds for which a worker may wait for DVC's lock; None: no limit.
    """

    def __init__(self, leave_timeout: float | None, lock_timeout: float | None) -> None:
        self._silence_limit = math.inf if leave_timeout is None else max(leave_timeout, _LEAST)
        lock = math.inf if lock_timeout is None else lock_timeout
        self._stall_limit = max(STALL_FACTOR * self._silence_limit, lock + self._silence_limit)
        self._silent = self._stalled = 0.0
        self._busy_seconds = 0.0
        self._pushed_bytes = 0

    def hurry(self) -> None:
        """Wait for a short time only."""
        self._silence_limit = min(self._silence_limit, HURRY_SECONDS)
        self._stall_limit = min(self._stall_limit, self._silence_limit)

    def begin(self) -> None:
        """Begin to count: the block is being left, or another worker has started."""
        self._silent = self._stalled = 0.0

    def hear(self, message: Any) -> None:
        """Take note of a message of the worker."""
        self._silent = 0.0
        if isinstance(message, Beat):
            busy, self._busy_seconds = self._busy_seconds, message.busy_seconds
            pushed, self._pushed_bytes = self._pushed_bytes, message.pushed_bytes
            is_idle = 0 <= message.busy_seconds - busy < _BUSY_SHARE * BEAT_SECONDS
            # A long upload over a slow network needs hardly any processor time.
            if not is_idle or message.pushed_bytes != pushed:
                self._stalled = 0.0
        else:
            self._stalled = 0.0

    def count(self, seconds: float) -> str | None:
        """Count seconds without a message; return how the worker failed, or None."""
        self._silent += seconds
        self._stalled += seconds
        if self._silent >= self._silence_limit:
            return f"did not answer for {self._silence_limit:g} s, so it was killed"
        if self._stalled >= self._stall_limit:
            return f"made no progress for {self._stall_limit:g} s, so it was killed"
        return None
