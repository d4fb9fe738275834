"""The pool of permits and the bandwidth that all pushes share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from backends import on_asyncio

from asynclive._remote.request_budget import RequestBudget

pytestmark = [pytest.mark.anyio, on_asyncio]


class Clock:
    """A clock that a sleep sets forward."""

    def __init__(self, late: float = 0) -> None:
        self.now = 1000.0
        self.late = late

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        await asyncio.sleep(0)
        self.now += seconds + self.late


class Requests:
    """Requests that are held until a test ends them."""

    def __init__(self, budget: RequestBudget) -> None:
        self.budget = budget
        self.running: dict[str, asyncio.Event] = {}
        self.order: list[str] = []

    async def make(self, name: str) -> None:
        async with self.budget.request():
            self.order.append(name)
            self.running[name] = asyncio.Event()
            await self.running[name].wait()

    async def end(self, name: str) -> None:
        self.running.pop(name).set()
        await anyio.wait_all_tasks_blocked()


async def test_no_more_requests_run_than_there_are_permits() -> None:
    budget = RequestBudget(3)
    inside, most = 0, 0

    async def make() -> None:
        nonlocal inside, most
        async with budget.request():
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(make)
    assert (most, inside) == (3, 0)


async def test_a_small_push_does_not_wait_for_all_requests_of_a_large_one() -> None:
    budget = RequestBudget(1)
    requests = Requests(budget)
    async with anyio.create_task_group() as tasks:
        with budget.share():
            for number in range(100):
                tasks.start_soon(requests.make, f"large {number}")
        await anyio.wait_all_tasks_blocked()
        with budget.share():
            tasks.start_soon(requests.make, "small")
        await anyio.wait_all_tasks_blocked()
        await requests.end("large 0")
        await requests.end("large 1")
        assert requests.order == ["large 0", "large 1", "small"]
        tasks.cancel_scope.cancel()


async def test_pushes_take_turns_and_requests_of_one_push_keep_their_order() -> None:
    budget = RequestBudget(1)
    requests = Requests(budget)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(requests.make, "first")
        await anyio.wait_all_tasks_blocked()
        for push in "ABC":
            with budget.share():
                for number in range(2):
                    tasks.start_soon(requests.make, f"{push}{number}")
        await anyio.wait_all_tasks_blocked()
        while requests.running:
            await requests.end(requests.order[-1])
    assert requests.order == ["first", "A0", "B0", "C0", "A1", "B1", "C1"]


async def test_a_cancelled_request_gives_its_permit_on() -> None:
    budget = RequestBudget(1)
    requests = Requests(budget)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(requests.make, "held")
        await anyio.wait_all_tasks_blocked()
        waiting = asyncio.ensure_future(requests.make("waiting"))
        granted = asyncio.ensure_future(requests.make("granted"))
        tasks.start_soon(requests.make, "last")
        await anyio.wait_all_tasks_blocked()
        waiting.cancel()
        await anyio.wait_all_tasks_blocked()
        requests.running.pop("held").set()
        await asyncio.sleep(0)  # the permit is granted, and its task has not run yet
        granted.cancel()
        await anyio.wait_all_tasks_blocked()
        assert requests.order == ["held", "last"]
        await requests.end("last")
    async with budget.request():
        pass


async def fail(budget: RequestBudget, error: bool = True) -> None:
    with contextlib.suppress(ConnectionError):
        async with budget.request():
            if error:
                budget.slow_down()
            raise ConnectionError


async def test_a_remote_that_asks_for_fewer_requests_halves_the_permits_down_to_one() -> None:
    budget = RequestBudget(16)
    limits = []
    for _ in range(6):
        await fail(budget)
        limits.append(budget.limit)
    assert limits == [8, 4, 2, 1, 1, 1]


async def test_requests_of_one_round_trip_halve_the_permits_once() -> None:
    budget = RequestBudget(16)
    all_run = asyncio.Event()

    async def refuse() -> None:
        async with budget.request():
            await all_run.wait()
            budget.slow_down()

    async with anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(refuse)
        await anyio.wait_all_tasks_blocked()
        all_run.set()
    assert budget.limit == 8


async def test_a_refusal_counts_after_the_request_has_ended() -> None:
    budget = RequestBudget(16)
    for _ in range(2):
        await fail(budget, error=False)
        budget.slow_down()
    assert budget.limit == 4


async def test_the_permits_grow_by_one_for_each_round_that_succeeds() -> None:
    budget = RequestBudget(16)
    await fail(budget)
    rounds = []
    while budget.limit < 16:
        before, count = budget.limit, 0
        while budget.limit == before:
            async with budget.request():
                count += 1
        rounds.append((before, count))
    assert [before for before, _ in rounds] == [*range(8, 16)]
    assert all(before <= count <= before + 1 for before, count in rounds)
    async with budget.request():
        pass
    assert budget.limit == 16


async def test_a_request_that_fails_does_not_raise_the_number_of_permits() -> None:
    budget = RequestBudget(2)
    await fail(budget)
    for _ in range(10):
        await fail(budget, error=False)
    assert budget.limit == 1


async def test_no_request_begins_while_more_run_than_the_remote_accepts() -> None:
    budget = RequestBudget(4)
    requests = Requests(budget)
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(requests.make, str(number))
        await anyio.wait_all_tasks_blocked()
        budget.slow_down()
        await requests.end("0")
        await requests.end("1")
        assert requests.order == ["0", "1", "2", "3"]
        await requests.end("2")
        assert requests.order == ["0", "1", "2", "3", "4"]
        tasks.cancel_scope.cancel()


MIB = 2**20


async def send_all(budget: RequestBudget, sizes: list[int], at_once: int) -> None:
    remaining = iter(sizes)

    async def work() -> None:
        for size in remaining:
            async with budget.request(size):
                pass

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(work)


@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.parametrize("size", [16 * 1024, 8 * MIB])
@pytest.mark.parametrize("late", [0, 0.004])
async def test_the_bandwidth_is_kept_within_a_tenth(at_once: int, size: int, late: float) -> None:
    clock = Clock(late)
    budget = RequestBudget(16, 20 * MIB, clock, clock.sleep)
    total = 100 * MIB
    start = clock.now
    await send_all(budget, [size] * (total // size), at_once)
    assert 0.9 * 5 <= clock.now - start <= 1.1 * 5


async def test_an_idle_time_is_made_up_for_by_one_request_alone() -> None:
    clock = Clock()
    budget = RequestBudget(16, MIB, clock, clock.sleep)
    begun: list[float] = []
    for idle in (0, 100, 0, 0):
        clock.now += idle
        async with budget.request(8 * MIB):
            begun.append(clock.now - 1000)
    assert begun == [8, 108, 116, 124]


async def test_a_long_body_pays_part_by_part_and_lets_others_in_between() -> None:
    clock = Clock()
    budget = RequestBudget(16, MIB, clock, clock.sleep)
    sent: list[tuple[str, float]] = []

    async def send(name: str) -> None:
        async with budget.request():
            for _ in range(3):
                await budget.pay(8 * MIB)
                sent.append((name, clock.now - 1000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, "a")
        tasks.start_soon(send, "b")
    assert sent == [("a", 8), ("b", 16), ("a", 24), ("b", 32), ("a", 40), ("b", 48)]


async def test_requests_without_a_body_do_not_wait_for_the_bandwidth() -> None:
    clock = Clock()
    budget = RequestBudget(2, 1, clock, clock.sleep)
    async with budget.request():
        pass
    assert clock.now == 1000


async def test_a_cancelled_request_takes_no_bandwidth() -> None:
    clock = Clock()
    held = asyncio.Event()

    async def hold(seconds: float) -> None:
        await held.wait()
        await clock.sleep(seconds)

    sleep: Callable[[float], Awaitable[None]] = hold
    budget = RequestBudget(2, MIB, clock, sleep)
    cancelled = asyncio.ensure_future(send_all(budget, [100 * MIB], 1))
    await anyio.wait_all_tasks_blocked()
    cancelled.cancel()
    held.set()
    await send_all(budget, [MIB], 1)
    assert clock.now == 1001
