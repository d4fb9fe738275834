"""run_together: its limit, its errors, and cancellation."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.lowlevel
import pytest
from cancelling import in_task, on_every_loop, settled
from worker_threads import Gate, assert_all_free

from asynclive._workers.bounded_gather import run_together
from asynclive._workers.file_workers import FileWorkers

pytestmark = pytest.mark.anyio


async def echo(value: object) -> object:
    await anyio.lowlevel.checkpoint()
    return value


@on_every_loop
async def test_all_jobs_run_and_all_results_come_back() -> None:
    jobs = (partial(echo, number) for number in range(40))
    assert sorted(await run_together(jobs, 3)) == list(range(40))
    assert await run_together([], 3) == []


@on_every_loop
async def test_no_more_jobs_run_at_once_than_allowed() -> None:
    inside, most = 0, 0

    async def job() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await settled()
        inside -= 1

    await run_together([job] * 20, 3)
    assert (inside, most) == (0, 3)


@on_every_loop
async def test_the_first_error_starts_no_more_jobs_and_waits_for_those_that_run() -> None:
    workers, gate = FileWorkers(2), Gate()
    failed = anyio.Event()
    ran = []

    async def hold() -> None:
        try:
            await workers.run(gate, bulk=False)
        finally:
            ran.append("held")

    async def fail() -> None:
        await gate.reached.wait()
        failed.set()
        raise ZeroDivisionError

    async def third() -> None:
        ran.append("third")

    async def run_all() -> None:
        with pytest.raises(ZeroDivisionError):
            await run_together([hold, fail, third], 2)
        assert ran == ["held"]

    async with in_task("scope", run_all) as call:
        await failed.wait()
        await settled()
        assert not call.ended
        gate.open()
    assert call.error is None
    await assert_all_free(workers)


@on_every_loop
async def test_of_two_errors_the_first_is_raised() -> None:
    async def first() -> None:
        raise KeyError

    async def second() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ZeroDivisionError

    with pytest.raises(KeyError):
        await run_together([second, first], 2)


@on_every_loop
async def test_a_cancelled_gather_starts_no_more_jobs() -> None:
    workers, gate = FileWorkers(1), Gate()
    ran = list[str]()

    async def second() -> None:
        ran.append("second")

    jobs = [partial(workers.run, gate, bulk=True), second]
    async with in_task("scope", partial(run_together, jobs, 1)) as call:
        await gate.reached.wait()
        call.cancel()
        gate.open()
    assert call.cancelled
    assert ran == []
    await assert_all_free(workers)
