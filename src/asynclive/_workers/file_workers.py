"""The bounded worker threads that touch the artifacts' bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from .fairness import SmallFirst, WaitedForFirst
from .os_priority import in_bulk

T = TypeVar("T")


def default_workers() -> int:
    """One a core that hashes, one more that waits for the disk, one kept for small artifacts."""
    return min(_cores() + 2, 32)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class FileWorkers:
    """At most ``workers`` threads over all artifacts together.

    Work waits in two lanes, small and bulk, first come first served in each. Bulk work leaves
    one thread free, so that a small artifact need not wait for it, and a thread that gets free
    goes to the small lane. Only where no bulk work runs at all do the lanes take turns, so that
    it is never starved.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._limiter = anyio.CapacityLimiter(workers)
        # Large files in the making, each of which keeps its source open. So many that the next
        # would only share the threads with them; so few that the process may have them open.
        self.large_files = anyio.CapacityLimiter(4 * workers)
        # Snapshots in the making, likewise. Apart from those: they are not to wait for one another.
        self.snapshots = anyio.CapacityLimiter(4 * workers)
        self.precedence = WaitedForFirst()
        self.courtesy = SmallFirst()
        # Work that nobody waits for, while its caller goes on. One core is the caller's: a thread
        # more than there are cores slows all of them down.
        self.background = anyio.CapacityLimiter(max(1, _cores() - 1))
        self._free = workers
        self.bulk_limit = max(1, workers - 1)
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
        await self._acquire(bulk=bulk)
        try:
            if bulk:
                func = partial(in_bulk, func)
            return await anyio.to_thread.run_sync(func, limiter=self._limiter)
        finally:
            self._bulk_running -= bulk
            self._release()

    async def run_to_end(self, func: Callable[[], T], *, bulk: bool = False) -> T:
        """Like ``run``, and not interrupted by cancellation: for taking things back."""
        scope = anyio.CancelScope(shield=True)
        with scope:
            return await self.run(func, bulk=bulk)
        raise AssertionError("nobody cancels this scope")

    async def _acquire(self, *, bulk: bool) -> None:
        if self._free and (not bulk or self._bulk_running < self.bulk_limit):  # nobody waits
            self._free -= 1
            self._bulk_running += bulk
            return
        lane = self._bulk if bulk else self._small
        granted = anyio.Event()
        lane[granted] = None
        try:
            await granted.wait()
        except BaseException:
            if lane.pop(granted, self) is self:  # granted and cancelled at once: hand it on
                self._bulk_running -= bulk
                self._release()
            raise

    def _release(self) -> None:
        """Hand the thread that got free to whoever waits for it."""
        bulk = bool(self._bulk) and self._bulk_running < self.bulk_limit
        if self._small and bulk:
            self._bulk_turn = not self._bulk_running and not self._bulk_turn
            bulk = self._bulk_turn
        lane = self._bulk if bulk else self._small
        if lane:
            granted = next(iter(lane))
            del lane[granted]
            self._bulk_running += bulk
            granted.set()
        else:
            self._free += 1


@dataclass(slots=True)
class StepRunner:
    """Runs the steps of one artifact in worker threads."""

    workers: FileWorkers
    bulk: bool
    """Smaller artifacts go first."""
    is_awaited: Callable[[], bool] = lambda: True
    """Whether somebody waits for the end by now."""
    stand_back: bool = False
    """The caller has its source back, and goes on."""

    async def run(self, func: Callable[[], T]) -> T:
        """Run it as soon as there is a thread."""
        return await self.workers.run(func, bulk=self.bulk)

    def is_asked(self) -> bool:
        """Whether what is small would have this thread's processor. From any thread."""
        return self.bulk and self.workers.courtesy.is_asked()

    async def run_behind(self, func: Callable[[], T]) -> T:
        """Run it after what a caller waits for, and beside a caller who has gone on."""
        if self.bulk:
            await self.workers.courtesy.shown()
        if not self.stand_back:
            return await self.run(func)
        if self.is_awaited():
            await self.workers.precedence.given()
            return await self.run(func)
        async with self.workers.background:
            # What goes first takes no turn at this limiter, and so does not wait for it.
            await self.workers.precedence.given()
            return await self.run(func)
