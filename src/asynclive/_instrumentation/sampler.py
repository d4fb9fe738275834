"""Samples the progress of each artifact that is staged or pushed, for displays.

The stage counts; a timer on the event loop reads the counts. The timer runs only while there is
a listener, and an artifact is being staged or pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio

from .push_progress import PushCounts
from .staging_progress import StagingProgress

# Seconds between two samples of an artifact. People do not notice faster changes of a display.
INTERVAL = 0.1


@dataclass(slots=True)
class _Published:
    """The latest published sample of one artifact."""

    on_sample: Callable[[], None]
    """Publishes a sample of the artifact."""
    time: float
    done: tuple[int, int] = (0, 0)
    """Bytes, and files or objects."""


class Sampler:
    """Calls back for each artifact whose counts have changed, ten times a second.

    Args:
        has_consumers: returns whether there is a callback or a stream for events.
        start_soon: starts a task in a task group that outlives every staging and push.
    """

    def __init__(
        self,
        has_consumers: Callable[[], bool],
        start_soon: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
    ) -> None:
        self._has_consumers = has_consumers
        self._start_soon = start_soon
        # The calls and pushes in flight bound the size of both.
        self._sampled: dict[StagingProgress | PushCounts, _Published] = {}
        self._changed: dict[StagingProgress | PushCounts, None] = {}
        """Artifacts that may have new counts. Thousands of others may wait for a worker thread."""
        self._running = False

    def begin(self, progress: StagingProgress | PushCounts, on_sample: Callable[[], None]) -> None:
        """Call ``on_sample`` at each interval in which ``progress`` has changed, until ``end``."""
        self._sampled[progress] = _Published(on_sample, anyio.current_time())
        if isinstance(progress, StagingProgress):
            progress.on_change = self._mark_changed
        else:
            self._changed[progress] = None
        self.wake()

    def end(self, progress: StagingProgress | PushCounts) -> None:
        """Stop sampling ``progress``."""
        if isinstance(progress, StagingProgress):
            progress.on_change = None
        self._sampled.pop(progress, None)
        self._changed.pop(progress, None)

    def wake(self) -> None:
        """Start the timer if it is needed. Call this when a listener is added."""
        if self._sampled and not self._running and self._has_consumers():
            self._running = True
            self._start_soon(self._run)

    def _mark_changed(self, progress: StagingProgress) -> None:
        self._changed[progress] = None

    async def _run(self) -> None:
        try:
            while self._sampled and self._has_consumers():
                await anyio.sleep(INTERVAL)
                self._sample(anyio.current_time())
        finally:
            self._running = False

    def _sample(self, now: float) -> None:
        for progress in list(self._changed):
            published = self._sampled.get(progress)
            if published is None:  # the on_sample of another artifact ended this one
                continue
            # A little less than the interval, because a timer may fire early.
            if now - published.time < INTERVAL * 0.99:
                continue
            if not progress.changes_unseen:
                self._changed.pop(progress, None)
            done = progress.done
            if done != published.done:
                published.done, published.time = done, now
                published.on_sample()
