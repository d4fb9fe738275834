"""The bounded worker threads that read and write the bytes of artifacts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel

from .._errors import ResourceLimitError
from .fairness import SmallFirst, WaitedForFirst
from .os_priority import Scheduling
from .processors import usable_processors
from .thread_start import run_in_thread

T = TypeVar("T")


def default_workers() -> int:
    """Return the number of worker threads where the user gives none: cores + 2, at most 32.

    One a core hashes, one more waits for the disk, and one is kept for small artifacts.
    """
    return min(usable_processors() + 2, 32)


class FileWorkers:
    """At most ``workers`` threads over all artifacts together.

    Jobs wait in two lanes, small and bulk, each in the order of the calls. Bulk jobs leave one
    thread free, so that a small artifact need not wait for them. A thread that becomes free goes
    to the small lane. Only while no bulk job runs at all do the lanes alternate, so that bulk work
    never starves.

    Args:
        workers: the number of threads.
        scheduling: how threads that run bulk jobs share the processors with others.
    """

    def __init__(self, workers: int, scheduling: Scheduling | None = None) -> None:
        self.workers = workers
        self.scheduling = scheduling or Scheduling()
        self._limiter = anyio.CapacityLimiter(workers)
        # Limit on large files in progress, since each keeps its source open. More than 4 a thread
        # would only share the threads; the process may have this many files open.
        self.large_files = anyio.CapacityLimiter(4 * workers)
        # Limit on snapshots in progress, for the same reason. A limiter of its own: a caller waits
        # for a snapshot, which must not wait for a large file that yields to it.
        self.snapshots = anyio.CapacityLimiter(4 * workers)
        self.waited_for_first = WaitedForFirst()
        self.small_first = SmallFirst()
        # Limit on steps of artifacts whose caller has gone on and that no task awaits. It leaves
        # the caller a core: one more thread than there are cores slows all of them down.
        self.background = anyio.CapacityLimiter(max(1, usable_processors() - 1))
        self._free = workers
        self.bulk_limit = max(1, workers - 1)
        # Ordered sets, so that a task that is cancelled leaves in O(1). Bounded by the tasks that
        # wait: each artifact has at most `workers`.
        self._small: dict[anyio.Event, None] = {}
        self._bulk: dict[anyio.Event, None] = {}
        self._bulk_running = 0
        self._is_bulk_next = False

    @property
    def busy(self) -> int:
        """The number of threads that run a job or are granted to one."""
        return self.workers - self._free

    async def run(self, func: Callable[[], T], *, bulk: bool) -> T:
        """Run ``func`` in a worker thread and return its result.

        Raises:
            ResourceLimitError: the system refuses the first thread. With at least one, jobs wait
                for each other.

        Cancellation: takes effect at once while this waits for a thread. A ``func`` that runs is
            waited for; it should call ``from_thread.check_cancelled`` itself.
        """
        await self._acquire(bulk=bulk)
        try:
            if bulk:
                func = partial(self.scheduling.run_bulk, func)
            return await run_in_thread(func, self._limiter)
        finally:
            self._bulk_running -= bulk
            self._release()

    async def run_to_end(self, func: Callable[[], T], *, bulk: bool = False) -> T:
        """Run ``func`` as ``run`` does, shielded from cancellation: for undoing and clearing up.

        Without any thread it runs in this one, and the event loop stands still.
        """
        scope = anyio.CancelScope(shield=True)
        with scope:
            try:
                return await self.run(func, bulk=bulk)
            except ResourceLimitError:
                return func()
        raise AssertionError("this scope is never cancelled")

    async def _acquire(self, *, bulk: bool) -> None:
        if self._free and (not bulk or self._bulk_running < self.bulk_limit):
            # No job of this kind waits: the thread would have been granted to it.
            self._free -= 1
            self._bulk_running += bulk
            return
        lane = self._bulk if bulk else self._small
        granted = anyio.Event()
        lane[granted] = None
        try:
            await granted.wait()
        except BaseException:
            if lane.pop(granted, self) is self:  # granted and cancelled at once: pass it on
                self._bulk_running -= bulk
                self._release()
            raise

    def _release(self) -> None:
        """Grant the thread that became free to the next job, if one waits."""
        bulk = bool(self._bulk) and self._bulk_running < self.bulk_limit
        if self._small and bulk:
            self._is_bulk_next = not self._bulk_running and not self._is_bulk_next
            bulk = self._is_bulk_next
        lane = self._bulk if bulk else self._small
        if lane:
            granted = next(iter(lane))
            del lane[granted]
            self._bulk_running += bulk
            granted.set()
        else:
            self._free += 1
