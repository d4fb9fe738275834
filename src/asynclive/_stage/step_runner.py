"""Runs the steps of one artifact in worker threads, in the order that is fair to others.

A step is a blocking function. Its OS errors become the errors that the caller of the artifact gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from .._ingest.os_errors import translate_os_errors
from .._workers.file_workers import FileWorkers

T = TypeVar("T")


@dataclass(slots=True)
class StepRunner:
    """Runs the steps of one artifact."""

    workers: FileWorkers
    source: str
    """The artifact's source, for the errors."""
    bulk: bool
    """Whether small artifacts go first."""
    is_awaited: Callable[[], bool] = lambda: True
    """Returns whether a task waits for the artifact at that moment."""
    in_background: bool = False
    """Whether the caller has gone on, since the source is its own again."""

    def move_to_background(self) -> None:
        """From now on the caller has gone on."""
        self.in_background = True

    async def run(self, step: Callable[[], T]) -> T:
        """Run the step as soon as a thread is free, and return its result."""
        return await self.workers.run(partial(self._translated, step), bulk=self.bulk)

    async def run_first(self, step: Callable[[], T]) -> T:
        """Run the step ahead of bulk work: a caller waits for it."""
        return await self.workers.run(partial(self._translated, step), bulk=False)

    async def run_yielding(self, step: Callable[[], T]) -> T:
        """Run the step after the work that goes before it, and return its result.

        1. A bulk artifact yields to small ones.
        2. If the caller has gone on, the step also yields to work that a caller waits for.
        3. If no task waits for the artifact either, the step leaves a core to the caller.
        """
        if self.bulk:
            await self.workers.small_first.yield_to_small()
        if not self.in_background:
            return await self.run(step)
        if self.is_awaited():
            await self.workers.waited_for_first.yield_to_waited_for()
            return await self.run(step)
        async with self.workers.background:
            # Work that goes first does not use this limiter, so it never waits for this step.
            await self.workers.waited_for_first.yield_to_waited_for()
            return await self.run(step)

    def should_yield(self) -> bool:
        """Return whether a small artifact could use this thread's processor. Thread-safe."""
        return self.bulk and self.workers.small_first.is_small_running()

    def _translated(self, step: Callable[[], T]) -> T:
        with translate_os_errors(self.source):
            return step()
