"""SharedHops: runs short functions in threads, several of them in one hop to a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import anyio

from .fairness import yield_gil

T = TypeVar("T")

RunHop = Callable[[Callable[[], None], int], Coroutine[Any, Any, None]]
"""Runs a function in a thread. The number is the size of the calls that it makes."""


class _Call(Generic[T]):
    """A function that waits for a hop, and its outcome."""

    __slots__ = ("changed", "error", "func", "is_done", "result", "size")

    def __init__(self, func: Callable[[], T], size: int) -> None:
        self.func = func
        self.size = size
        self.changed = anyio.Event()
        self.is_done = False
        self.result: T | None = None
        self.error: Exception | None = None

    async def wait_for_change(self) -> None:
        await self.changed.wait()
        self.changed = anyio.Event()


class _Hop(Generic[T]):
    """The calls that one hop makes."""

    def __init__(self, calls: Sequence[_Call[T]]) -> None:
        self.calls = calls
        self.size = sum(call.size for call in calls)
        self.has_begun = False

    def run(self) -> None:
        """Make all calls, in a thread."""
        self.has_begun = True
        for call in self.calls:
            yield_gil()
            try:
                call.result = call.func()
            except Exception as error:
                call.error = error


class SharedHops(Generic[T]):
    """Runs short functions in threads. A hop to a thread costs as much as a small file.

    A task that calls while a hop is free makes the hop. It takes along the functions of other tasks
    that wait at that time.

    Args:
        run: runs a function in a thread. An error that it raises itself reaches all tasks whose
            functions the hop took along.
        hops: maximum number of hops at a time.
        most_calls: maximum number of functions in one hop.
        most_size: maximum size of these together; a larger one goes alone.
    """

    def __init__(self, run: RunHop, hops: int, most_calls: int, most_size: int) -> None:
        self._run = run
        self._free = hops
        self._most_calls = most_calls
        self._most_size = most_size
        # Ordered, so that a task that is cancelled leaves in O(1). Bounded by the tasks that call.
        self._waiting: dict[_Call[T], None] = {}

    async def call(self, func: Callable[[], T], size: int) -> T:
        """Run ``func`` in a thread, and return its result.

        Cancellation: takes effect at once until the hop begins. A hop that has begun ends first.
        """
        call = _Call(func, size)
        self._waiting[call] = None
        try:
            while not call.is_done:
                if self._free and call in self._waiting:
                    await self._hop()
                else:
                    await call.wait_for_change()
        except BaseException:
            with anyio.CancelScope(shield=True):
                while not call.is_done and self._waiting.pop(call, self) is self:
                    await call.wait_for_change()  # another task has taken it along
            self._wake_next()
            raise
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # it is set if there is no error

    async def _hop(self) -> None:
        """Make the calls that wait. Those that no thread has begun wait again if this fails."""
        hop = self._take()
        self._free -= 1
        try:
            await self._run(hop.run, hop.size)
        except Exception as error:
            for call in hop.calls:
                call.error = call.error or error
            hop.has_begun = True
        finally:
            self._free += 1
            if not hop.has_begun:  # cancelled: the next task in line makes it
                self._waiting = dict.fromkeys(hop.calls) | self._waiting
            for call in hop.calls:
                call.is_done = hop.has_begun
                call.changed.set()
            self._wake_next()

    def _take(self) -> _Hop[T]:
        """Remove the next calls from those that wait."""
        calls: list[_Call[T]] = []
        size = 0
        for call in self._waiting:
            size += call.size
            if calls and (size > self._most_size or len(calls) == self._most_calls):
                break
            calls.append(call)
        for call in calls:
            del self._waiting[call]
        return _Hop(calls)

    def _wake_next(self) -> None:
        if self._free and self._waiting:
            next(iter(self._waiting)).changed.set()
