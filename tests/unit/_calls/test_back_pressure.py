"""Room for what is pending: who gets it, who waits, who is refused."""

from __future__ import annotations

import pytest
from cancelling import in_task, settled
from layouts import request_of

from asynclive._calls.back_pressure import BackPressure
from asynclive._calls.call import Call, CallOptions
from asynclive._errors import BackPressureError

pytestmark = pytest.mark.anyio


async def unknown() -> int | None:
    return None


def pending_of(max_bytes: int | None = None, max_count: int | None = None) -> BackPressure:
    return BackPressure(max_bytes, max_count, unknown)


def calling(name: str, *, wait: bool = True, submitted: bool = True) -> Call:
    return Call(request_of(f"/{name}"), CallOptions(submitted=submitted, waits=wait))


@pytest.mark.parametrize("value", [0, -1])
def test_a_bound_is_at_least_one(value: int) -> None:
    with pytest.raises(ValueError, match="max_pending_bytes must be at least 1"):
        pending_of(max_bytes=value)
    with pytest.raises(ValueError, match="max_pending must be at least 1"):
        pending_of(max_count=value)


async def test_places_are_given_in_the_order_of_the_calls() -> None:
    pending = pending_of(max_count=1)
    calls = [calling(name) for name in "abc"]
    for call in calls:
        pending.admit(call)
    with pytest.raises(BackPressureError, match="'/d': 1 artifacts are pending"):
        pending.admit(calling("d", wait=False))
    await pending.wait_for_slot(calls[0])
    async with (
        in_task("scope", lambda: pending.wait_for_slot(calls[1])) as second,
        in_task("scope", lambda: pending.wait_for_slot(calls[2])) as third,
    ):
        assert not second.ended
        pending.release(calls[0])
        await settled()
        assert second.ended
        assert not third.ended
        pending.release(calls[1])
    assert third.ended
    pending.release(calls[2])
    pending.admit(calling("d", wait=False))


async def test_what_is_moved_waits_for_some_room_before_and_for_its_bytes_after() -> None:
    pending = pending_of(max_bytes=10)
    first, full = calling("a"), calling("c")
    moved, refused = calling("b", wait=False), calling("d", wait=False)
    for call in (first, moved, full, refused):
        pending.admit(call)
    await pending.wait_for_bytes(first, 9)
    await pending.wait_for_bytes(moved, None)
    assert not moved.has_room
    moved.release()  # its caller has resumed, and can no longer be refused
    async with (
        in_task("scope", lambda: pending.wait_for_bytes(moved, 2)) as waits,
        in_task("scope", lambda: pending.wait_for_bytes(full, None)) as after,
    ):
        assert not waits.ended
        assert not after.ended
        with pytest.raises(BackPressureError, match="9 bytes are pending, and others would come"):
            await pending.wait_for_bytes(refused, None)
        pending.release(first)
    assert waits.ended
    assert after.ended
    assert moved.has_room
    assert not full.has_room


async def test_where_all_room_is_taken_nothing_is_moved() -> None:
    pending = pending_of(max_bytes=10)
    first, moved = calling("a"), calling("b", wait=False)
    for call in (first, moved):
        pending.admit(call)
    await pending.wait_for_bytes(first, 10)
    with pytest.raises(BackPressureError):
        await pending.wait_for_bytes(moved, None)


async def test_bytes_wait_for_bytes() -> None:
    pending = pending_of(max_bytes=10)
    first, second, third = (calling(name) for name in "abc")
    for call in (first, second, third):
        pending.admit(call)
    await pending.wait_for_bytes(first, 6)
    async with (
        in_task("scope", lambda: pending.wait_for_bytes(second, 6)) as waits,
        # Small enough, and still it does not overtake.
        in_task("scope", lambda: pending.wait_for_bytes(third, 1)) as after,
    ):
        assert not waits.ended
        assert not after.ended
        refused = calling("d", wait=False)
        pending.admit(refused)
        with pytest.raises(BackPressureError, match="6 bytes are pending, and 1 would come"):
            await pending.wait_for_bytes(refused, 1)
        pending.release(refused)
        pending.release(first)
    assert waits.ended
    assert after.ended
    assert second.has_room


async def test_what_is_larger_than_the_bound_goes_alone() -> None:
    pending = pending_of(max_bytes=10)
    large, small = calling("large"), calling("small")
    pending.admit(large)
    pending.admit(small)
    await pending.wait_for_bytes(large, 100)
    async with in_task("scope", lambda: pending.wait_for_bytes(small, 1)) as waits:
        assert not waits.ended
        pending.release(large)
    assert waits.ended


async def test_who_gives_up_waiting_leaves_the_room_to_the_next() -> None:
    pending = pending_of(max_bytes=10, max_count=3)
    first, second, third = (calling(name) for name in "abc")
    for call in (first, second, third):
        pending.admit(call)
    await pending.wait_for_bytes(first, 6)
    async with (
        in_task("scope", lambda: pending.wait_for_bytes(second, 9)) as gives_up,
        in_task("scope", lambda: pending.wait_for_bytes(third, 4)) as waits,
    ):
        gives_up.cancel()
        pending.release(second)
    assert waits.ended
    assert not waits.cancelled


async def test_who_comes_after_another_gets_room_after_it() -> None:
    """Else it would wait to be committed after the one that waits for its bytes."""
    pending = pending_of(max_bytes=10)
    holder, earlier, later = (calling(name) for name in "abc")
    later.order_after([earlier])
    for call in (holder, earlier, later):
        pending.admit(call)
    await pending.wait_for_bytes(holder, 4)
    async with in_task("scope", lambda: pending.wait_for_bytes(later, 6)) as waits:
        assert not waits.ended
        await pending.wait_for_bytes(earlier, 6)
        pending.release(holder)
        pending.release(earlier)
        earlier.finish()
    assert waits.ended


async def test_calls_that_are_waited_for_have_room() -> None:
    pending = pending_of(max_bytes=1, max_count=1)
    for name in "abc":
        call = calling(name, submitted=False)
        pending.admit(call)
        await pending.wait_for_slot(call)
        await pending.wait_for_bytes(call, 10)
        assert call.has_room
    pending.release(call)


async def test_without_a_bound_half_of_what_is_free_may_be_pending() -> None:
    free = 100

    async def free_bytes() -> int | None:
        return free

    pending = BackPressure(None, None, free_bytes)
    first, second, third = (calling(name) for name in "abc")
    for call in (first, second, third):
        pending.admit(call)
    await pending.wait_for_bytes(first, 40)
    free = 60  # it was written
    await pending.wait_for_bytes(second, 10)
    free = 50
    async with in_task("scope", lambda: pending.wait_for_bytes(third, 1)) as waits:
        assert not waits.ended
        pending.release(first)
    assert waits.ended
