"""BackPressure: which calls get a slot or bytes, which wait, and which are refused."""

from __future__ import annotations

import pytest
from cancelling import in_task, settled
from layouts import request_of

from asynclive._calls.back_pressure import BackPressure
from asynclive._calls.call import Call, CallOptions
from asynclive._errors import BackPressureError

pytestmark = pytest.mark.anyio


async def unknown_free_bytes() -> int | None:
    return None


def make_back_pressure(max_bytes: int | None = None, max_count: int | None = None) -> BackPressure:
    return BackPressure(max_bytes, max_count, unknown_free_bytes)


def make_call(name: str, *, wait: bool = True, submitted: bool = True) -> Call:
    return Call(request_of(f"/{name}"), CallOptions(submitted=submitted, waits=wait))


@pytest.mark.parametrize("value", [0, -1])
def test_a_bound_must_be_at_least_one(value: int) -> None:
    with pytest.raises(ValueError, match="max_pending_bytes must be at least 1"):
        make_back_pressure(max_bytes=value)
    with pytest.raises(ValueError, match="max_pending must be at least 1"):
        make_back_pressure(max_count=value)


async def test_calls_get_slots_in_their_order() -> None:
    bounds = make_back_pressure(max_count=1)
    calls = [make_call(name) for name in "abc"]
    for call in calls:
        bounds.admit(call)
    with pytest.raises(BackPressureError, match="'/d': 1 artifacts are pending"):
        bounds.admit(make_call("d", wait=False))
    await bounds.wait_for_slot(calls[0])
    async with (
        in_task("scope", lambda: bounds.wait_for_slot(calls[1])) as second,
        in_task("scope", lambda: bounds.wait_for_slot(calls[2])) as third,
    ):
        assert not second.ended
        bounds.release(calls[0])
        await settled()
        assert second.ended
        assert not third.ended
        bounds.release(calls[1])
    assert third.ended
    bounds.release(calls[2])
    bounds.admit(make_call("d", wait=False))


async def test_a_moved_source_waits_for_any_bytes_before_and_for_its_bytes_after_the_move() -> None:
    bounds = make_back_pressure(max_bytes=10)
    first, full = make_call("a"), make_call("c")
    moved, refused = make_call("b", wait=False), make_call("d", wait=False)
    for call in (first, moved, full, refused):
        bounds.admit(call)
    await bounds.wait_for_bytes(first, 9)
    await bounds.wait_for_bytes(moved, None)
    assert not moved.has_room
    moved.release()  # its caller has resumed, and can no longer be refused
    async with (
        in_task("scope", lambda: bounds.wait_for_bytes(moved, 2)) as waits,
        in_task("scope", lambda: bounds.wait_for_bytes(full, None)) as after,
    ):
        assert not waits.ended
        assert not after.ended
        with pytest.raises(BackPressureError, match="9 bytes are pending, and more must wait"):
            await bounds.wait_for_bytes(refused, None)
        bounds.release(first)
    assert waits.ended
    assert after.ended
    assert moved.has_room
    assert not full.has_room


async def test_a_move_is_refused_while_no_bytes_are_free() -> None:
    bounds = make_back_pressure(max_bytes=10)
    first, moved = make_call("a"), make_call("b", wait=False)
    for call in (first, moved):
        bounds.admit(call)
    await bounds.wait_for_bytes(first, 10)
    with pytest.raises(BackPressureError):
        await bounds.wait_for_bytes(moved, None)


async def test_calls_wait_for_bytes_in_their_order() -> None:
    bounds = make_back_pressure(max_bytes=10)
    first, second, third = (make_call(name) for name in "abc")
    for call in (first, second, third):
        bounds.admit(call)
    await bounds.wait_for_bytes(first, 6)
    async with (
        in_task("scope", lambda: bounds.wait_for_bytes(second, 6)) as waits,
        # It would fit, but it must not overtake.
        in_task("scope", lambda: bounds.wait_for_bytes(third, 1)) as after,
    ):
        assert not waits.ended
        assert not after.ended
        refused = make_call("d", wait=False)
        bounds.admit(refused)
        with pytest.raises(BackPressureError, match="6 bytes are pending, and 1 more must wait"):
            await bounds.wait_for_bytes(refused, 1)
        bounds.release(refused)
        bounds.release(first)
    assert waits.ended
    assert after.ended
    assert second.has_room


async def test_an_artifact_larger_than_the_bound_is_pending_alone() -> None:
    bounds = make_back_pressure(max_bytes=10)
    large, small = make_call("large"), make_call("small")
    bounds.admit(large)
    bounds.admit(small)
    await bounds.wait_for_bytes(large, 100)
    async with in_task("scope", lambda: bounds.wait_for_bytes(small, 1)) as waits:
        assert not waits.ended
        bounds.release(large)
    assert waits.ended


async def test_a_cancelled_call_leaves_its_bytes_to_the_next() -> None:
    bounds = make_back_pressure(max_bytes=10, max_count=3)
    first, second, third = (make_call(name) for name in "abc")
    for call in (first, second, third):
        bounds.admit(call)
    await bounds.wait_for_bytes(first, 6)
    async with (
        in_task("scope", lambda: bounds.wait_for_bytes(second, 9)) as cancelled,
        in_task("scope", lambda: bounds.wait_for_bytes(third, 4)) as waits,
    ):
        cancelled.cancel()
        bounds.release(second)
    assert waits.ended
    assert not waits.cancelled


async def test_a_call_gets_bytes_after_the_calls_that_are_committed_before_it() -> None:
    """Otherwise it would hold bytes that the earlier call, for which it waits, needs."""
    bounds = make_back_pressure(max_bytes=10)
    holder, earlier, later = (make_call(name) for name in "abc")
    later.order_after([earlier])
    for call in (holder, earlier, later):
        bounds.admit(call)
    await bounds.wait_for_bytes(holder, 4)
    async with in_task("scope", lambda: bounds.wait_for_bytes(later, 6)) as waits:
        assert not waits.ended
        await bounds.wait_for_bytes(earlier, 6)
        bounds.release(holder)
        bounds.release(earlier)
        earlier.finish()
    assert waits.ended


async def test_calls_of_log_artifact_are_not_bounded() -> None:
    bounds = make_back_pressure(max_bytes=1, max_count=1)
    for name in "abc":
        call = make_call(name, submitted=False)
        bounds.admit(call)
        await bounds.wait_for_slot(call)
        await bounds.wait_for_bytes(call, 10)
        assert call.has_room
    bounds.release(call)


async def test_without_a_bound_half_of_the_free_space_may_be_pending() -> None:
    free = 100

    async def free_bytes() -> int | None:
        return free

    bounds = BackPressure(None, None, free_bytes)
    first, second, third = (make_call(name) for name in "abc")
    for call in (first, second, third):
        bounds.admit(call)
    await bounds.wait_for_bytes(first, 40)
    free = 60  # the 40 bytes are written
    await bounds.wait_for_bytes(second, 10)
    free = 50
    async with in_task("scope", lambda: bounds.wait_for_bytes(third, 1)) as waits:
        assert not waits.ended
        bounds.release(first)
    assert waits.ended
