"""How far the staging of each artifact has come: counted by its stage, looked at by a timer.

The timer is there for displays. It runs only while somebody listens and something is staged,
and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

# Ten a second: more is not seen (seconds).
INTERVAL = 0.1


class PartlyDone(Protocol):
    """A file in work. Other threads count; reading an int needs no lock."""

    @property
    def done_bytes(self) -> int: ...


@dataclass(eq=False, slots=True)
class StagingProgress:
    """How far one artifact has come. Only on the event loop, but for the files in work."""

    bytes_total: int = 0
    files_total: int = 0
    files_done: int = 0
    size: int = 0
    """Once it is staged: of the tracked files alone, as is their number."""
    nfiles: int = 0
    on_change: Callable[[StagingProgress], None] | None = None
    _bytes_done: int = 0
    _in_work: set[PartlyDone] = field(default_factory=set)
    """Bounded by the bound on large files."""

    @property
    def bytes_done(self) -> int:
        return self._bytes_done + sum(file.done_bytes for file in self._in_work)

    @property
    def moves(self) -> bool:
        """Whether it comes on without being told."""
        return bool(self._in_work)

    def restart(self) -> None:
        """All of it is done again."""
        self.files_done = self._bytes_done = 0

    @contextmanager
    def in_work(self, file: PartlyDone) -> Iterator[None]:
        """Meanwhile it counts as far as it is; afterwards it failed, or is counted next."""
        self._in_work.add(file)
        self._changed()
        try:
            yield
        finally:
            self._in_work.discard(file)

    def count(self, files: int, size: int) -> None:
        """So many files, and their bytes, are done."""
        self.files_done += files
        self._bytes_done += size
        self._changed()

    def reach(self, files: int, size: int) -> None:
        """So many are done, as another process has counted."""
        self.files_done, self._bytes_done = files, size
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change(self)


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
