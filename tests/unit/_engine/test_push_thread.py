"""PushThread: runs async functions in a loop of its own, for any loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from backends import on_every_loop, three_ways
from cancelling import in_task
from gate import Gate

from asynclive._engine.pushing.push_thread import PushThread

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def push_thread() -> AsyncIterator[PushThread]:
    thread = PushThread()
    try:
        yield thread
    finally:
        with anyio.CancelScope(shield=True):
            await thread.aclose()


async def name_of_loop() -> tuple[str, int]:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__name__, threading.get_ident()


@on_every_loop
async def test_functions_share_one_loop_of_asyncio_in_another_thread() -> None:
    async with push_thread() as thread:
        first = await thread.run(name_of_loop)
        assert first == await thread.run(name_of_loop)
        assert first[0] == "PushLoop"
        assert first[1] != threading.get_ident()
    assert first[1] not in [each.ident for each in threading.enumerate()]


@on_every_loop
async def test_an_error_of_a_function_is_raised_to_its_caller_alone() -> None:
    other = Gate()

    async def fail() -> None:
        raise LookupError("of the function")

    async with push_thread() as thread, anyio.create_task_group() as tasks:
        tasks.start_soon(thread.run, partial(wait_for, other))
        with pytest.raises(LookupError, match="of the function"):
            await thread.run(fail)
        await other.reached.wait()
        other.open()


async def wait_for(gate: Gate) -> None:
    await asyncio.to_thread(gate)


@three_ways
async def test_a_cancelled_function_has_ended_when_its_caller_resumes(way: str) -> None:
    clearing_up = Gate()
    began, ended = Gate(), []

    async def work() -> None:
        began._call_soon(began.reached.set)
        try:
            await asyncio.sleep(3600)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.to_thread(clearing_up)
            ended.append(True)

    async with push_thread() as thread:
        async with in_task(way, partial(thread.run, work)) as call:
            await began.reached.wait()
            call.cancel()
            await clearing_up.reached.wait()
            assert not call.ended
            clearing_up.open()
        assert call.cancelled
        assert ended == [True]


@on_every_loop
async def test_a_function_cancelled_before_it_begins_does_not_wait() -> None:
    async def work() -> None:
        await asyncio.sleep(3600)

    async with push_thread() as thread:
        await thread.run(name_of_loop)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await thread.run(work)
        assert scope.cancelled_caught


async def test_a_thread_that_ran_nothing_is_closed_at_once() -> None:
    async with push_thread():
        assert "portal" not in " ".join(each.name for each in threading.enumerate())
