"""Group commit: what waits is committed together, under one hold of the repository's lock.

Knows no DVC: the repository is a Protocol, and so is what is done with a group.
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

# A group holds DVC's lock for about 3 ms an artifact, less than a second.
MAX_GROUP = 256
# Between two looks at a lock that another process holds (seconds). Nothing can be awaited
# for that, so it is asked again: soon at first, for DVC mostly holds it shortly, then less
# often, at random, so that several waiting processes do not ask in step. Where many take
# turns, who asks seldom waits long: whoever has just had it is back for more within some
# milliseconds.
FIRST_DELAY = 0.01
LONGEST_DELAY = 0.1


def _nothing() -> None:
    pass


@dataclass(eq=False, slots=True)
class _Waiting(Generic[ItemT, ResultT]):
    item: ItemT
    done: anyio.Event = field(default_factory=anyio.Event)
    result: ResultT | None = None
    error: Exception | None = None
    begun: Callable[[], None] = _nothing
    """Called when its group begins."""
    asked_at: float | None = None
    """When the lock was first asked for on its behalf."""

    def resolve(self, outcome: ResultT | Exception) -> None:
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.result = outcome
        self.done.set()


class GroupCommitter(Generic[ItemT, ResultT]):
    """Gathers what is submitted while a group commits into the next one.

    Args:
        acquire: take the lock if it is free now; whether it was.
        commit: commit a group under the lock; a result or an error for each, in order.
        release: give the lock back.
        break_seconds: for how long the lock is to be left free from now on, so that others
            than this library find it.
        lock_timeout: seconds to wait for the lock; None: for ever.
    """

    def __init__(
        self,
        *,
        acquire: Callable[[], Awaitable[bool]],
        commit: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | Exception]]],
        release: Callable[[], Awaitable[None]],
        break_seconds: Callable[[], Awaitable[float]],
        lock_timeout: float | None,
    ) -> None:
        self._acquire = acquire
        self._commit = commit
        self._release = release
        self._break_seconds = break_seconds
        self._lock_timeout = lock_timeout
        # Ordered, and bounded by the calls in flight: each waits here once.
        self._waiting: dict[_Waiting[ItemT, ResultT], None] = {}
        self._arrived = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many items wait for their group to begin."""
        return len(self._waiting)

    async def submit(self, item: ItemT, begun: Callable[[], None] = _nothing) -> ResultT:
        """Commit ``item`` with the next group; returns its result or raises its error.

        ``begun`` is called when that group begins.

        Cancellation: an item whose group has not begun is withdrawn. Once its group is
        committing, its result is returned all the same: what is on disk is not to be taken for
        never logged. The cancellation is then the caller's to see, at its next checkpoint.
        """
        waiting: _Waiting[ItemT, ResultT] = _Waiting(item, begun=begun)
        self._waiting[waiting] = None
        self._arrived.set()
        try:
            await waiting.done.wait()
        except BaseException as error:
            committing = self._waiting.pop(waiting, self) is self
            if not committing or not isinstance(error, anyio.get_cancelled_exc_class()):
                raise
            with anyio.CancelScope(shield=True):
                await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        assert waiting.result is not None
        return waiting.result

    async def run(self) -> None:
        """Commit groups until cancelled; a group that has begun is finished first."""
        while True:
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            # Before the lock is asked for: it is not what lock_timeout is about.
            if seconds := await self._break_seconds():
                await anyio.sleep(seconds)
                continue
            if await self._acquire_lock():
                await self._commit_next_group()

    async def _commit_next_group(self) -> None:
        """Commit who waits, give the lock back, and tell them. Nothing interrupts it."""
        group = self._take_group()
        for waiting in group:
            waiting.begun()
        outcomes: Sequence[ResultT | Exception] = [_interrupted() for _ in group]
        with anyio.CancelScope(shield=True):
            try:
                try:
                    outcomes = await self._outcomes(group)
                finally:
                    await self._give_back()
            finally:
                # Only now: who is told that it is done may go on to run `dvc`, which needs the
                # lock. But in any case: a native cancellation goes through the shield.
                for waiting, outcome in zip(group, outcomes, strict=True):
                    waiting.resolve(outcome)

    async def _give_back(self) -> None:
        try:
            await self._release()
        except Exception:  # the group is committed; who needs the lock next will say so
            logger.exception("DVC's repository lock could not be given back.")

    def _take_group(self) -> list[_Waiting[ItemT, ResultT]]:
        group = list(islice(self._waiting, MAX_GROUP))
        for waiting in group:
            del self._waiting[waiting]
        return group

    async def _outcomes(
        self, group: list[_Waiting[ItemT, ResultT]]
    ) -> Sequence[ResultT | Exception]:
        if not group:  # all withdrawn while the lock was asked for
            return ()
        try:
            return await self._commit([waiting.item for waiting in group])
        except Exception as error:
            return _own_each(error, len(group))

    async def _acquire_lock(self) -> bool:
        """Get the lock for whoever waits; False: nobody waits any more."""
        delay = FIRST_DELAY
        while self._waiting:
            now = anyio.current_time()
            for waiting in self._waiting:
                if waiting.asked_at is None:
                    waiting.asked_at = now
            try:
                with anyio.CancelScope(shield=True):  # or a lock just taken would be lost
                    if await self._acquire():
                        return True
            except Exception as error:
                # The lock cannot even be asked for (its file is not writable, say).
                group = self._take_group()
                for waiting, own in zip(group, _own_each(error, len(group)), strict=True):
                    waiting.resolve(own)
                continue
            self._give_up_on(anyio.current_time())
            await anyio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, LONGEST_DELAY)
        return False

    def _give_up_on(self, now: float) -> None:
        if self._lock_timeout is None:
            return
        for waiting in list(self._waiting):
            if waiting.asked_at is not None and now - waiting.asked_at >= self._lock_timeout:
                del self._waiting[waiting]
                waiting.resolve(LockTimeoutError(self._lock_timeout))


def _own_each(error: Exception, count: int) -> list[Exception]:
    """One error a caller: it collects the traceback of whoever it is raised to."""
    owns = [copy(error) if isinstance(error, AsyncLiveError) else error for _ in range(count)]
    for own in owns:
        own.__cause__ = error.__cause__
    return owns


def _interrupted() -> AsyncLiveError:
    return AsyncLiveError(
        "The event loop was shut down while this artifact was being committed: it may be tracked "
        "or not, but nothing is half written. Log it again."
    )
