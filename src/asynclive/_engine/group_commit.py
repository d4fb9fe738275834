"""Gathers staged artifacts into groups: one group commits under one hold of DVC's lock.

It knows no DVC: it is given the functions that take the lock, commit a group, and release the lock.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from logging import getLogger
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

from .._errors import AsyncLiveError, LockTimeoutError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

logger = getLogger(__name__)

# A group holds DVC's lock for about 3 ms per artifact, and so for less than a second.
MAX_GROUP = 256
# Seconds between two attempts to take a lock that another process holds. There is no event to wait
# for, so this process tries again: soon at first, because DVC mostly holds the lock for a short
# time; then less often, at random intervals, so that several processes do not try in step. The
# longest interval is short: a process that has just released the lock wants it again within some
# milliseconds, and would win each time.
FIRST_DELAY = 0.01
LONGEST_DELAY = 0.1


def _do_nothing() -> None:
    pass


@dataclass(eq=False, slots=True)
class _Waiter(Generic[ItemT, ResultT]):
    """An item that waits for its group, and the outcome that its caller waits for."""

    item: ItemT
    on_begin: Callable[[], None] = _do_nothing
    """Called when the group of the item begins to commit."""
    done: anyio.Event = field(default_factory=anyio.Event)
    result: ResultT | None = None
    error: Exception | None = None
    waiting_since: float | None = None
    """The time of the first attempt to take the lock for this item (loop time, seconds)."""
    begun: bool = False

    def begin(self) -> None:
        """Report that the group begins, unless it began before."""
        if not self.begun:
            self.begun = True
            self.on_begin()

    def resolve(self, outcome: ResultT | Exception) -> None:
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.result = outcome
        self.done.set()


class GroupCommitter(Generic[ItemT, ResultT]):
    """Gathers the items that arrive while a group commits into the next group.

    Args:
        acquire: takes the lock if it is free at this moment; returns whether it did.
        commit: commits a group under the lock; returns a result or an error for each, in order.
            An item with a ``LockTimeoutError`` is committed again with a later group: it needs
            another lock too, which another process has taken in between.
        release: releases the lock.
        break_seconds: returns for how many seconds the lock must stay free from now on, so that
            ``dvc`` commands can take it; 0: it need not.
        lock_timeout: seconds to wait for the lock; None: no limit.
        timeout_error: makes the error for a wait of that many seconds.
    """

    def __init__(
        self,
        *,
        acquire: Callable[[], Awaitable[bool]],
        commit: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | Exception]]],
        release: Callable[[], Awaitable[None]],
        break_seconds: Callable[[], Awaitable[float]],
        lock_timeout: float | None,
        timeout_error: Callable[[float], LockTimeoutError] = LockTimeoutError,
    ) -> None:
        self._acquire = acquire
        self._commit = commit
        self._release = release
        self._break_seconds = break_seconds
        self._lock_timeout = lock_timeout
        self._timeout_error = timeout_error
        # In order, and bounded by the calls in flight: each call waits here once.
        self._waiters: dict[_Waiter[ItemT, ResultT], None] = {}
        self._arrived = anyio.Event()

    @property
    def waiting(self) -> int:
        """The number of items whose group has not begun."""
        return len(self._waiters)

    async def submit(self, item: ItemT, on_begin: Callable[[], None] = _do_nothing) -> ResultT:
        """Commit ``item`` with the next group; return its result or raise its error.

        Args:
            item: the item.
            on_begin: called when that group begins.

        Cancellation: an item whose group has not begun is withdrawn. Once its group commits, this
            returns the result all the same: an artifact that is on disk must not count as never
            logged. The caller sees the cancellation at its next checkpoint.
        """
        waiter: _Waiter[ItemT, ResultT] = _Waiter(item, on_begin)
        self._waiters[waiter] = None
        self._arrived.set()
        try:
            await waiter.done.wait()
        except BaseException as error:
            is_committing = waiter not in self._waiters
            self._waiters.pop(waiter, None)
            if not is_committing or not isinstance(error, anyio.get_cancelled_exc_class()):
                raise
            with anyio.CancelScope(shield=True):
                await waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error
        assert waiter.result is not None
        return waiter.result

    async def run(self) -> None:
        """Commit groups until cancelled; finish a group that has begun first."""
        while True:
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not self._waiters:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            # Before the first attempt to take the lock, because lock_timeout must not count it.
            if seconds := await self._break_seconds():
                await anyio.sleep(seconds)
                continue
            if await self._acquire_lock():
                await self._commit_next_group()

    async def _commit_next_group(self) -> None:
        """Commit the waiting items, release the lock, and resume the callers. Not interruptible."""
        group = self._take_group()
        for waiter in group:
            waiter.begin()
        outcomes: Sequence[ResultT | Exception] = [_interrupted() for _ in group]
        with anyio.CancelScope(shield=True):
            try:
                try:
                    outcomes = await self._outcomes(group)
                finally:
                    await self._release_lock()
            finally:
                # After the release: a caller that resumes may run `dvc`, which needs the lock. In
                # a finally: a native cancellation pierces the shield.
                self._end_group(group, outcomes)

    def _end_group(
        self,
        group: list[_Waiter[ItemT, ResultT]],
        outcomes: Sequence[ResultT | Exception],
    ) -> None:
        """Resume the callers. Items whose other lock was not free wait again, before all others."""
        waiting_again: dict[_Waiter[ItemT, ResultT], None] = {}
        for waiter, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, LockTimeoutError):
                waiting_again[waiter] = None
            else:
                waiter.resolve(outcome)
        if waiting_again:
            self._waiters = waiting_again | self._waiters
            self._time_out(anyio.current_time())

    async def _release_lock(self) -> None:
        try:
            await self._release()
        except Exception:  # the group is committed; the next attempt to take the lock will fail
            logger.exception("DVC's repository lock could not be released.")

    def _take_group(self) -> list[_Waiter[ItemT, ResultT]]:
        group = list(islice(self._waiters, MAX_GROUP))
        for waiter in group:
            del self._waiters[waiter]
        return group

    async def _outcomes(
        self, group: list[_Waiter[ItemT, ResultT]]
    ) -> Sequence[ResultT | Exception]:
        if not group:  # every item was withdrawn during the wait for the lock
            return ()
        try:
            return await self._commit([waiter.item for waiter in group])
        except Exception as error:
            return _copies(error, len(group))

    async def _acquire_lock(self) -> bool:
        """Take the lock for the waiting items; return False if no item waits any more."""
        delay = FIRST_DELAY
        while self._waiters:
            now = anyio.current_time()
            for waiter in self._waiters:
                if waiter.waiting_since is None:
                    waiter.waiting_since = now
            try:
                with anyio.CancelScope(shield=True):  # else a lock that was just taken is lost
                    if await self._acquire():
                        return True
            except Exception as error:
                # The attempt itself fails, for example because the lock file is not writable.
                group = self._take_group()
                for waiter, own in zip(group, _copies(error, len(group)), strict=True):
                    waiter.resolve(own)
                continue
            self._time_out(anyio.current_time())
            await anyio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, LONGEST_DELAY)
        return False

    def _time_out(self, now: float) -> None:
        if self._lock_timeout is None:
            return
        for waiter in list(self._waiters):
            since = waiter.waiting_since
            if since is not None and now - since >= self._lock_timeout:
                del self._waiters[waiter]
                waiter.resolve(self._timeout_error(self._lock_timeout))


def _copies(error: Exception, count: int) -> list[Exception]:
    """Return one error for each caller: a raised error collects the traceback of its caller."""
    copies = [copy(error) if isinstance(error, AsyncLiveError) else error for _ in range(count)]
    for own in copies:
        own.__cause__ = error.__cause__
    return copies


def _interrupted() -> AsyncLiveError:
    return AsyncLiveError(
        "The event loop was shut down while this artifact was being committed. The artifact is "
        "either tracked or not; nothing is half written. Log it again."
    )
