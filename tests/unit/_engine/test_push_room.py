"""PushRoom: too many artifacts that are not pushed let calls wait, in their order."""

from __future__ import annotations

import anyio
import pytest
from settling import settled

from asynclive._engine.pushing.push_room import PushRoom

pytestmark = pytest.mark.anyio


async def test_calls_wait_in_their_order_until_there_is_room() -> None:
    room = PushRoom(1000)
    taken: list[str] = []

    async def take(name: str, objects: int) -> None:
        await room.take(name, objects)
        taken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, "a", 600)
        await settled()
        tasks.start_soon(take, "b", 500)
        await settled()
        tasks.start_soon(take, "c", 1)  # there is room for it, but another one waits
        await settled()
        assert taken == ["a"]
        room.give_back("a")
        await settled()
        assert taken == ["a", "b", "c"]


async def test_an_artifact_larger_than_the_bound_is_pushed_alone() -> None:
    room = PushRoom(1000)
    await room.take("large", 5000)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await room.take("other", 1)
    assert scope.cancelled_caught
    room.give_back("large")
    room.give_back("other")
    await room.take("another", 5000)


async def test_a_cancelled_wait_lets_the_next_call_go_on() -> None:
    room = PushRoom(1000)
    await room.take("a", 900)
    scope = anyio.CancelScope()
    taken: list[str] = []

    async def take_or_not() -> None:
        with scope:
            await room.take("b", 900)

    async def take_later() -> None:
        await room.take("c", 100)
        taken.append("c")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_or_not)
        await settled()
        tasks.start_soon(take_later)
        await settled()
        scope.cancel()
        await settled()
        assert not taken  # the cancelled one counts too
        room.give_back("b")
        await settled()
        assert taken == ["c"]
