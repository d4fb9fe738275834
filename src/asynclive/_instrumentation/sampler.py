"""How far the staging of each artifact has come: counted by its stage, looked at by a timer.

The timer is there for displays. It runs only while somebody listens and something is staged,
and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio

from .staging_progress import StagingProgress

# Ten a second: more is not seen (seconds).
INTERVAL = 0.1


@dataclass(slots=True)
class _Sampled:
    tell: Callable[[], None]
    """Publishes how far it is."""
    told_at: float
    told: tuple[int, int] = (0, 0)


class Sampler:
    """Tells how far those in staging are, as often as that is worth it.

    Args:
        wanted: whether anybody listens.
        start_soon: starts a task whose owner outlives every staging.
    """

    def __init__(
        self,
        wanted: Callable[[], bool],
        start_soon: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
    ) -> None:
        self._wanted = wanted
        self._start_soon = start_soon
        # Both bounded by the calls in flight.
        self._staging: dict[StagingProgress, _Sampled] = {}
        self._changed: dict[StagingProgress, None] = {}
        """Those that may have something to tell: thousands may wait for their turn."""
        self._running = False

    def begin(self, progress: StagingProgress, tell: Callable[[], None]) -> None:
        """Call ``tell`` at each sample in which ``progress`` has changed, until ``end``."""
        self._staging[progress] = _Sampled(tell, anyio.current_time())
        progress.on_change = self._note
        self.wake()

    def end(self, progress: StagingProgress) -> None:
        progress.on_change = None
        self._staging.pop(progress, None)
        self._changed.pop(progress, None)

    def wake(self) -> None:
        """Somebody listens now, perhaps."""
        if self._staging and not self._running and self._wanted():
            self._running = True
            self._start_soon(self._run)

    def _note(self, progress: StagingProgress) -> None:
        self._changed[progress] = None

    async def _run(self) -> None:
        try:
            while self._staging and self._wanted():
                await anyio.sleep(INTERVAL)
                self._sample(anyio.current_time())
        finally:
            self._running = False

    def _sample(self, now: float) -> None:
        for progress in list(self._changed):
            sampled = self._staging.get(progress)
            if sampled is None:  # ended by what was told of another
                continue
            # A little less, for a timer that is early.
            if now - sampled.told_at < INTERVAL * 0.99:
                continue
            if not progress.moves:
                self._changed.pop(progress, None)
            reached = progress.bytes_done, progress.files_done
            if reached != sampled.told:
                sampled.told, sampled.told_at = reached, now
                sampled.tell()
