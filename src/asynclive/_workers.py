"""The bounded worker threads that touch the artifacts' bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


def default_workers() -> int:
    """One a core and one more that waits for the disk; hashing is what fills the cores."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return min(cores + 1, 32)


class FileWorkers:
    """At most ``workers`` threads over all artifacts together.

    Work waits in two lanes, small and bulk, first come first served in each. A thread that
    gets free goes to the small lane: a small artifact waits for the end of one step of bulk
    work. Only where no bulk work runs at all do the lanes take turns, so that it is never
    starved.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._limiter = anyio.CapacityLimiter(workers)
        self._free = workers
        # Ordered sets, so that who gives up waiting leaves in O(1). Bounded by the tasks
        # that wait: each artifact has at most `workers`.
        self._small: dict[anyio.Event, None] = {}
        self._bulk: dict[anyio.Event, None] = {}
        self._bulk_running = 0
        self._bulk_turn = False

    @property
    def busy(self) -> int:
        """How many threads are at work, or about to be."""
        return self.workers - self._free

    async def run(self, func: Callable[[], T], *, bulk: bool) -> T:
        """Run ``func`` in a worker thread and return what it returns.

        Cancellation: takes effect at once while waiting for a thread. A running ``func``
        is waited for; it looks for cancellation itself, with ``from_thread.check_cancelled``.
        """
        await self._acquire(self._bulk if bulk else self._small)
        self._bulk_running += bulk
        try:
            return await anyio.to_thread.run_sync(func, limiter=self._limiter)
        finally:
            self._bulk_running -= bulk
            self._release()

    async def run_to_end(self, func: Callable[[], T]) -> T:
        """Like ``run``, and not interrupted by cancellation: for taking things back."""
        scope = anyio.CancelScope(shield=True)
        with scope:
            return await self.run(func, bulk=False)
        raise AssertionError("nobody cancels this scope")

    async def run_all(
        self,
        jobs: Iterable[Callable[[], T | None]],
        *,
        bulk: bool,
        on_result: Callable[[T], object] = lambda _: None,
    ) -> list[T]:
        """Run every job, at most ``workers`` at once; results in no given order.

        ``on_result`` is told each of them at once.

        A job that returns None has more to do: it is run again, once others had their turn.
        The first error stops the rest and is raised once none of them runs any more.
        """
        results: list[T] = []
        errors: list[Exception] = []
        remaining = iter(jobs)

        async def run_remaining() -> None:
            for job in remaining:
                try:
                    while (result := await self.run(job, bulk=bulk)) is None:
                        pass
                    results.append(result)
                    on_result(result)
                except Exception as error:
                    errors.append(error)
                    task_group.cancel_scope.cancel()

        async with anyio.create_task_group() as task_group:
            for _ in range(self.workers):
                task_group.start_soon(run_remaining)
        if errors:
            raise errors[0]
        return results

    async def _acquire(self, lane: dict[anyio.Event, None]) -> None:
        if self._free:  # then nobody waits
            self._free -= 1
            return
        granted = anyio.Event()
        lane[granted] = None
        try:
            await granted.wait()
        except BaseException:
            if lane.pop(granted, self) is self:  # granted and cancelled at once: hand it on
                self._release()
            raise

    def _release(self) -> None:
        if self._small and self._bulk and not self._bulk_running:
            self._bulk_turn = not self._bulk_turn
            lane = self._bulk if self._bulk_turn else self._small
        else:
            lane = self._small or self._bulk
        if lane:
            granted = next(iter(lane))
            del lane[granted]
            granted.set()
        else:
            self._free += 1
