"""How much may be pending at once: submitted, and not logged yet.

Whoever submits faster than the disk stores waits here, before anything of it is copied. No I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from .._errors import BackPressureError
from .call import Call

# Each has a task and some kilobytes of memory: so many are far more than threads work on.
MAX_COUNT = 1000
# Of what is free, while there is no other bound: the rest is for what others write meanwhile.
FREE_SHARE = 2


def check_bounds(max_bytes: int | None, max_count: int | None) -> None:
    """Check the bounds before there is anything to bound.

    Raises:
        ValueError: one of them is less than 1.
    """
    if max_bytes is not None and max_bytes < 1:
        raise ValueError(f"max_pending_bytes must be at least 1, not {max_bytes}")
    if max_count is not None and max_count < 1:
        raise ValueError(f"max_pending must be at least 1, not {max_count}")


class BackPressure:
    """The bounds of one AsyncLive object, and who waits for room.

    An artifact takes a place at once, or waits for one in the order of the calls. What it takes
    in bytes is known later, and it waits once more. What is moved is looked at when its caller has
    gone on: it waits for some room before, and for all it takes then. An artifact that is larger
    than the bound goes alone. Calls whose callers wait for them are not bounded: these are their
    own bound.

    Args:
        max_bytes: of all artifacts together; None: a share of what is free when asked.
        max_count: of artifacts; None: 1,000.
        free_bytes: says what is free; None: that is not known.
    """

    def __init__(
        self,
        max_bytes: int | None,
        max_count: int | None,
        free_bytes: Callable[[], Awaitable[int | None]],
    ) -> None:
        check_bounds(max_bytes, max_count)
        self._max_bytes = max_bytes
        self._max_count = max_count or MAX_COUNT
        self._free_bytes = free_bytes
        # Those that have a place, and the bytes of those that have room.
        self._places: dict[Call, int] = {}
        self._bytes = 0
        # In the order of the calls, and bounded by them.
        self._waiting: dict[Call, anyio.Event] = {}
        # In the order in which their sizes came to be known; bounded by max_count.
        self._waiting_for_bytes: dict[Call, tuple[int | None, int | None, anyio.Event]] = {}

    def enter(self, call: Call) -> None:
        """Give the call a place, or have it wait for one. Every call ``leave``s again.

        Raises:
            BackPressureError: there is none, and it is not to wait.
        """
        if not call.submitted:
            call.has_room.set()
        elif len(self._places) < self._max_count:  # nobody waits then
            self._places[call] = 0
        elif call.waits_for_room:
            self._waiting[call] = anyio.Event()
        else:
            raise BackPressureError(
                call.request.given, f"{len(self._places):,} artifacts are pending"
            )

    async def place(self, call: Call) -> None:
        """Wait until the call has a place."""
        if call in self._waiting:
            await self._waiting[call].wait()

    async def room(self, call: Call, size: int | None) -> None:
        """Wait until there is room for ``size`` bytes more; None: for some, not taken yet.

        Raises:
            BackPressureError: there is none, and the call is not to wait.
        """
        if call not in self._places:
            return
        waits = call.waits_for_room or call.released.is_set()
        for earlier in call.earlier:
            # It is committed before this one, and would wait for the bytes that this one had.
            if not (waits or earlier.has_room.is_set()):
                raise BackPressureError(
                    call.request.given, f"'{earlier.request.given}' waits for room before it"
                )
            await earlier.has_room.wait()
        limit = await self._limit(size)
        if self._waiting_for_bytes or not self._fits(size, limit):
            if not waits:
                more = "others" if size is None else f"{size:,}"
                raise BackPressureError(
                    call.request.given,
                    f"{self._bytes:,} bytes are pending, and {more} would come to them",
                )
            granted = anyio.Event()
            self._waiting_for_bytes[call] = (size, limit, granted)
            await granted.wait()
        else:
            self._grant(call, size)

    def leave(self, call: Call) -> None:
        """The call has ended, and nothing of it is pending."""
        self._waiting.pop(call, None)
        self._waiting_for_bytes.pop(call, None)
        self._bytes -= self._places.pop(call, 0)
        while self._waiting and len(self._places) < self._max_count:
            first = next(iter(self._waiting))
            self._places[first] = 0
            self._waiting.pop(first).set()
        while self._waiting_for_bytes:
            first, (size, limit, granted) = next(iter(self._waiting_for_bytes.items()))
            if not self._fits(size, limit):
                break
            del self._waiting_for_bytes[first]
            self._grant(first, size)
            granted.set()

    def _grant(self, call: Call, size: int | None) -> None:
        if size is None:
            return
        self._places[call] = size
        self._bytes += size
        call.has_room.set()

    def _fits(self, size: int | None, limit: int | None) -> bool:
        least = 1 if size is None else size
        return not self._bytes or limit is None or self._bytes + least <= limit

    async def _limit(self, size: int | None) -> int | None:
        if self._max_bytes is not None or not self._bytes or size == 0:
            return self._max_bytes
        free = await self._free_bytes()
        # What is pending was free before.
        return None if free is None else (free + self._bytes) // FREE_SHARE
