"""Several short functions in one hop to a thread: the task that makes it, errors, cancellation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio
import pytest

from asynclive._workers.shared_hops import SharedHops

pytestmark = pytest.mark.anyio


class Hops:
    """Runs hops without a thread. A closed gate holds them, before or after they have begun."""

    def __init__(self, hops: int = 1, most_calls: int = 3, most_size: int = 100) -> None:
        self.shared: SharedHops[int] = SharedHops(self.run, hops, most_calls, most_size)
        self.sizes: list[int] = []
        self.results: list[int] = []
        self.before = anyio.Event()
        self.after = anyio.Event()
        self.error: Exception | None = None

    async def run(self, func: Callable[[], None], size: int) -> None:
        await self.before.wait()
        if self.error is not None:
            raise self.error
        func()
        self.sizes.append(size)
        with anyio.CancelScope(shield=True):  # as anyio's threads do
            await self.after.wait()

    async def call(self, number: int, size: int = 1) -> None:
        self.results.append(await self.shared.call(lambda: number, size))


async def test_calls_that_wait_go_together() -> None:
    hops = Hops()
    hops.after.set()
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(hops.call, number)
        await anyio.wait_all_tasks_blocked()
        hops.before.set()
    assert sorted(hops.results) == [*range(6)]
    assert hops.sizes == [1, 3, 2]


async def test_several_hops_run_at_a_time() -> None:
    hops = Hops(hops=2)
    hops.before.set()
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(hops.call, number)
            await anyio.wait_all_tasks_blocked()
        assert hops.sizes == [1, 1]
        hops.after.set()
    assert hops.sizes == [1, 1, 2]


async def test_the_size_of_a_hop_is_bounded_and_a_large_call_goes_alone() -> None:
    hops = Hops(most_calls=10)
    hops.after.set()
    async with anyio.create_task_group() as tasks:
        for size in (1, 200, 60, 40, 1):
            tasks.start_soon(hops.call, size, size)
            await anyio.wait_all_tasks_blocked()
        hops.before.set()
    assert hops.sizes == [1, 200, 100, 1]


async def test_an_error_reaches_its_own_caller() -> None:
    hops = Hops()
    hops.before.set()
    hops.after.set()
    raised: list[Exception] = []

    async def fail(number: int) -> None:
        try:
            await hops.shared.call(partial(int, f"x{number}"), 1)
        except ValueError as error:
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail, 0)
        tasks.start_soon(hops.call, 1)
        tasks.start_soon(fail, 2)
    assert hops.results == [1]
    assert len({str(error) for error in raised}) == 2


async def test_an_error_of_the_hop_reaches_all_of_its_callers() -> None:
    hops = Hops()
    hops.after.set()
    hops.error = OSError("no thread")
    errors: list[OSError] = []

    async def call() -> None:
        try:
            await hops.call(0)
        except OSError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        hops.before.set()
    assert errors == [hops.error] * 3


async def call_and_cancel(hops: Hops, cancelled: int) -> None:
    """Make three calls, of which the first makes the hop; cancel one before the hop begins."""
    scope, ended = anyio.CancelScope(), anyio.Event()

    async def call() -> None:
        with scope:
            await hops.call(cancelled)
        ended.set()

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            if number == cancelled:
                tasks.start_soon(call)
            else:
                tasks.start_soon(hops.call, number)
            await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await ended.wait()
        hops.before.set()
        hops.after.set()


async def test_another_task_makes_the_hop_of_a_cancelled_one_that_has_not_begun() -> None:
    hops = Hops()
    await call_and_cancel(hops, 0)
    assert sorted(hops.results) == [1, 2]
    assert sum(hops.sizes) == 2


async def test_a_cancelled_call_that_waits_for_a_hop_is_not_made() -> None:
    hops = Hops()
    await call_and_cancel(hops, 1)
    assert sorted(hops.results) == [0, 2]
    assert sum(hops.sizes) == 2


async def test_a_cancelled_call_waits_for_the_hop_that_makes_it() -> None:
    hops = Hops()
    hops.before.set()
    ends: list[str] = []

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            await hops.call(1)
        ends.append("call")

    scopes = [anyio.CancelScope() for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hops.call, 0)
        await anyio.wait_all_tasks_blocked()
        for scope in scopes:
            tasks.start_soon(call, scope)
        await anyio.wait_all_tasks_blocked()
        gate, hops.after = hops.after, anyio.Event()
        gate.set()
        await anyio.wait_all_tasks_blocked()  # the second hop has begun, with all three
        for scope in scopes:
            scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert ends == []
        hops.after.set()
    assert hops.sizes == [1, 3]
    assert len(ends) == 3


async def test_cancelled_callers_take_nothing_from_the_others() -> None:
    hops = Hops(hops=2)
    hops.before.set()
    hops.after.set()

    async def call(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await hops.call(number)

    scopes = [anyio.CancelScope() for _ in range(100)]
    async with anyio.create_task_group() as tasks:
        for number, scope in enumerate(scopes):
            tasks.start_soon(call, number, scope)
        await anyio.sleep(0)
        for scope in scopes[::3]:
            scope.cancel()
    assert {number for number in range(100) if number % 3} <= {*hops.results}
