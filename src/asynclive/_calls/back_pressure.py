"""The bounds max_pending and max_pending_bytes: a call waits for a slot, then for its bytes.

A caller that submits faster than the disk stores waits here, before any byte is copied. No I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from .._errors import BackPressureError
from .call import Call

# Default of max_pending. Each pending call has a task and some kilobytes of memory. Worker threads
# never work on so many at once, so a higher number would not be faster.
MAX_COUNT = 1000
# Default of max_pending_bytes: one half of the free space. Other programs may fill the rest.
FREE_SHARE = 2


def check_bounds(max_bytes: int | None, max_count: int | None) -> None:
    """Check the bounds before a session begins.

    Raises:
        ValueError: one of them is less than 1.
    """
    if max_bytes is not None and max_bytes < 1:
        raise ValueError(f"max_pending_bytes must be at least 1, not {max_bytes}")
    if max_count is not None and max_count < 1:
        raise ValueError(f"max_pending must be at least 1, not {max_count}")


class BackPressure:
    """The bounds of one session, and the calls that wait for them.

    Each submitted call waits twice, in the order of the calls: for a slot (``max_pending``), then,
    once its size is known, for its bytes (``max_pending_bytes``). With ``move=True`` the size is
    known only after the caller has resumed, so the call first waits until any bytes are free. An
    artifact that is larger than the bound is pending alone. Calls of ``log_artifact`` are not
    bounded: their callers wait anyway.

    Args:
        max_bytes: the bound on the bytes of all pending artifacts; None: a share of the free space.
        max_count: the bound on pending artifacts; None: 1,000.
        free_bytes: returns the free space in bytes; None if it is not known.
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
        # The calls that have a slot, with their granted bytes.
        self._slots: dict[Call, int] = {}
        self._bytes = 0
        # In the order of the calls, and bounded by them.
        self._waiting_for_slot: dict[Call, anyio.Event] = {}
        # In the order in which the sizes became known; bounded by max_count.
        self._waiting_for_bytes: dict[Call, tuple[int | None, int | None, anyio.Event]] = {}

    def admit(self, call: Call) -> None:
        """Give the call a slot, or queue it for one. Every admitted call must be released.

        Raises:
            BackPressureError: no slot is free, and the call must not wait.
        """
        if not call.submitted:
            call.take_room()
        elif len(self._slots) < self._max_count:  # then no call waits
            self._slots[call] = 0
        elif call.options.waits:
            self._waiting_for_slot[call] = anyio.Event()
        else:
            raise BackPressureError(
                call.request.given, f"{len(self._slots):,} artifacts are pending"
            )

    async def wait_for_slot(self, call: Call) -> None:
        """Wait until the call has a slot."""
        if call in self._waiting_for_slot:
            await self._waiting_for_slot[call].wait()

    async def wait_for_bytes(self, call: Call, size: int | None) -> None:
        """Wait until ``size`` more bytes may be pending, and count them.

        Args:
            call: a call that has a slot, or needs none.
            size: in bytes; None: wait until any bytes are free, and count none.

        Raises:
            BackPressureError: there are too many bytes, and the call must not wait.
        """
        if call not in self._slots:
            return
        waits = call.options.waits or call.is_released
        for earlier in call.earlier:
            # An earlier call is committed first. If it waited for bytes that this call holds, both
            # would wait for ever.
            if not (waits or earlier.has_room):
                raise BackPressureError(
                    call.request.given, f"'{earlier.request.given}' waits before it"
                )
            await earlier.wait_for_room()
        limit = await self._limit(size)
        if self._waiting_for_bytes or not self._fits(size, limit):
            if not waits:
                more = "more" if size is None else f"{size:,} more"
                raise BackPressureError(
                    call.request.given, f"{self._bytes:,} bytes are pending, and {more} must wait"
                )
            granted = anyio.Event()
            self._waiting_for_bytes[call] = (size, limit, granted)
            await granted.wait()
        else:
            self._grant(call, size)

    def release(self, call: Call) -> None:
        """Give back the slot and the bytes of a call that has ended, and resume waiting calls."""
        self._waiting_for_slot.pop(call, None)
        self._waiting_for_bytes.pop(call, None)
        self._bytes -= self._slots.pop(call, 0)
        while self._waiting_for_slot and len(self._slots) < self._max_count:
            first = next(iter(self._waiting_for_slot))
            self._slots[first] = 0
            self._waiting_for_slot.pop(first).set()
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
        self._slots[call] = size
        self._bytes += size
        call.take_room()

    def _fits(self, size: int | None, limit: int | None) -> bool:
        least = 1 if size is None else size
        return not self._bytes or limit is None or self._bytes + least <= limit

    async def _limit(self, size: int | None) -> int | None:
        if self._max_bytes is not None or not self._bytes or size == 0:
            return self._max_bytes
        free = await self._free_bytes()
        # The pending bytes were free before.
        return None if free is None else (free + self._bytes) // FREE_SHARE
