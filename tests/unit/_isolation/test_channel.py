"""Messages between two ends: whole, in order, to the end; nobody's loop stands still for them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from cancelling import on_every_loop, settled

from asynclive._isolation.channel import Channel

pytestmark = pytest.mark.anyio

LARGE = bytes(3_000_000)  # more than the system takes at once


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = Channel(), Channel()
    for channel, sock in zip((one, other), socket.socketpair(), strict=True):
        channel.connect(sock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        yield one, other
        tasks.cancel_scope.cancel()
    one.close()
    other.close()


async def all_of(channel: Channel) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(await channel.receive())
        except EOFError:
            return messages


@on_every_loop
async def test_messages_come_whole_and_in_order_and_then_the_end() -> None:
    messages = [*range(500), LARGE, "a", LARGE, None]
    async with pair() as (one, other):
        for message in messages:
            one.post(message)
        one.end()
        assert await all_of(other) == messages
        assert one.waiting == 0


async def test_what_was_posted_before_there_was_a_socket_comes_too() -> None:
    one, other = Channel(), Channel()
    one.post("early")
    one.end()
    for channel, sock in zip((one, other), socket.socketpair(), strict=True):
        channel.connect(sock)
    await one.run()
    assert await all_of(other) == ["early"]
    one.close()
    other.close()


async def test_a_message_is_as_it_was_when_it_was_posted() -> None:
    async with pair() as (one, other):
        message = [1]
        one.post(message)
        message.append(2)
        assert await other.receive() == [1]


async def test_what_cannot_be_pickled_is_refused_and_the_next_comes() -> None:
    async with pair() as (one, other):
        with pytest.raises(Exception, match=r"pickle|local"):
            one.post(lambda: None)
        one.post("next")
        assert await other.receive() == "next"


async def test_a_message_of_the_moment_goes_before_those_that_wait() -> None:
    numbers = iter(["first", None])
    one, other = Channel(lambda: next(numbers)), Channel()
    for channel, sock in zip((one, other), socket.socketpair(), strict=True):
        channel.connect(sock)
    async with anyio.create_task_group() as tasks:
        one.post("a")
        one.post("b")
        tasks.start_soon(one.run)
        assert [await other.receive() for _ in range(3)] == ["first", "a", "b"]
        one.post("c")
        assert await other.receive() == "c"
        one.end()
    one.close()
    other.close()


async def test_other_tasks_have_their_turn_between_messages_and_within_a_large_one() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with pair() as (one, other), anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        for number in range(50):
            one.post(number)
        await settled_with(one)
        turns = 0
        for _ in range(50):
            await other.receive()
        assert turns >= 25  # trio takes those who can go on in any order
        turns = 0
        one.post(LARGE)
        await other.receive()
        assert turns >= len(LARGE) // 2**20
        tasks.cancel_scope.cancel()


async def settled_with(channel: Channel) -> None:
    while channel.waiting:
        await anyio.lowlevel.checkpoint()


async def test_when_the_other_end_is_gone_sending_ends_and_keeps_nothing() -> None:
    async with pair() as (one, other):
        other.close()
        one.post(LARGE)
        await settled()
        one.post("more")
        assert one.waiting == 0
        with pytest.raises(EOFError):
            await one.receive()
