"""Channels: messages arrive whole and in order, and do not block the event loop."""

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

LARGE = bytes(3_000_000)  # more than a socket accepts at once


@asynccontextmanager
async def channel_pair() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = Channel(), Channel()
    for channel, sock in zip((one, other), socket.socketpair(), strict=True):
        channel.connect(sock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        yield one, other
        tasks.cancel_scope.cancel()
    one.close()
    other.close()


async def receive_all(channel: Channel) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(await channel.receive())
        except EOFError:
            return messages


@on_every_loop
async def test_messages_arrive_whole_and_in_order_before_the_end() -> None:
    messages = [*range(500), LARGE, "a", LARGE, None]
    async with channel_pair() as (one, other):
        for message in messages:
            one.post(message)
        one.end()
        assert await receive_all(other) == messages
        assert one.queue_length == 0


async def test_messages_that_were_posted_before_connect_arrive_too() -> None:
    one, other = Channel(), Channel()
    one.post("early")
    one.end()
    for channel, sock in zip((one, other), socket.socketpair(), strict=True):
        channel.connect(sock)
    await one.run()
    assert await receive_all(other) == ["early"]
    one.close()
    other.close()


async def test_a_message_arrives_as_it_was_when_it_was_posted() -> None:
    async with channel_pair() as (one, other):
        message = [1]
        one.post(message)
        message.append(2)
        assert await other.receive() == [1]


async def test_a_message_that_does_not_pickle_is_refused_and_the_next_arrives() -> None:
    async with channel_pair() as (one, other):
        with pytest.raises(Exception, match=r"pickle|local"):
            one.post(lambda: None)
        one.post("next")
        assert await other.receive() == "next"


async def test_the_leading_message_arrives_before_its_batch() -> None:
    leading = iter(["first", None])
    one, other = Channel(lambda: next(leading)), Channel()
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


async def test_other_tasks_run_between_messages_and_during_a_large_one() -> None:
    steps = 0

    async def count_steps() -> None:
        nonlocal steps
        while True:
            await anyio.lowlevel.checkpoint()
            steps += 1

    async with channel_pair() as (one, other), anyio.create_task_group() as tasks:
        tasks.start_soon(count_steps)
        for number in range(50):
            one.post(number)
        await wait_until_sent(one)
        steps = 0
        for _ in range(50):
            await other.receive()
        assert steps >= 25  # trio runs tasks that are ready in any order
        steps = 0
        one.post(LARGE)
        await other.receive()
        assert steps >= len(LARGE) // 2**20
        tasks.cancel_scope.cancel()


async def wait_until_sent(channel: Channel) -> None:
    while channel.queue_length:
        await anyio.lowlevel.checkpoint()


async def test_sending_ends_and_keeps_nothing_once_the_other_end_is_closed() -> None:
    async with channel_pair() as (one, other):
        other.close()
        one.post(LARGE)
        await settled()
        one.post("more")
        assert one.queue_length == 0
        with pytest.raises(EOFError):
            await one.receive()
