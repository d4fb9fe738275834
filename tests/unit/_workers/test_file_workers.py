"""FileWorkers: the jobs count the threads, and gates hold them."""

from __future__ import annotations

import threading
from functools import partial
from itertools import pairwise

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from cancelling import in_task, on_every_loop, settled, three_ways
from worker_threads import TIMEOUT, Gate, assert_all_free, held, queue

from asynclive._workers.file_workers import FileWorkers, default_workers

pytestmark = pytest.mark.anyio


@on_every_loop
@pytest.mark.parametrize(("bulk", "threads"), [(False, 3), (True, 2)], ids=["small", "bulk"])
async def test_all_workers_run_at_once_and_never_more(bulk: bool, threads: int) -> None:
    workers = FileWorkers(3)
    lock = threading.Lock()
    together = threading.Barrier(threads)
    inside = most = 0

    def job() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(TIMEOUT)
        with lock:
            inside -= 1

    async with anyio.create_task_group() as task_group:
        for _ in range(30):
            task_group.start_soon(partial(workers.run, job, bulk=bulk))
    assert (inside, most) == (0, threads)


@on_every_loop
async def test_a_result_comes_back_and_an_error_is_raised() -> None:
    workers = FileWorkers(1)
    assert await workers.run(lambda: 7, bulk=False) == 7
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0, bulk=True)
    await assert_all_free(workers)


@on_every_loop
async def test_a_lane_runs_jobs_in_the_order_of_the_calls() -> None:
    for names in ("abcdef", "ABCDEF"):
        workers, ran = FileWorkers(1), list[str]()
        async with anyio.create_task_group() as task_group, held(workers):
            await queue(task_group, workers, names, ran)
        assert "".join(ran) == names


@on_every_loop
async def test_a_small_job_waits_for_one_bulk_job_at_most() -> None:
    workers, ran = FileWorkers(1), list[str]()
    async with anyio.create_task_group() as task_group, held(workers, bulk=True):
        await queue(task_group, workers, "ABCs", ran)
    assert ran.index("s") <= 1


@on_every_loop
async def test_the_lanes_of_a_single_thread_alternate() -> None:
    workers, ran = FileWorkers(1), list[str]()
    async with anyio.create_task_group() as task_group, held(workers):
        await queue(task_group, workers, "ABCDabcd", ran)
    lanes = [name.isupper() for name in ran]
    assert all(one != other for one, other in pairwise(lanes)), ran


@on_every_loop
async def test_bulk_work_leaves_one_thread_to_small_jobs() -> None:
    workers, ran = FileWorkers(3), list[str]()
    async with (
        anyio.create_task_group() as task_group,
        held(workers, bulk=True),
        held(workers, bulk=True),
    ):
        await queue(task_group, workers, "AB", ran)
        await workers.run(partial(ran.append, "a"), bulk=False)
        assert ran == ["a"]
    assert sorted(ran[1:]) == list("AB")  # both threads become free, so in either order


@on_every_loop
async def test_while_bulk_work_runs_small_jobs_go_first() -> None:
    workers, ran = FileWorkers(3), list[str]()
    async with anyio.create_task_group() as task_group, held(workers, bulk=True):
        async with held(workers, bulk=True), held(workers):
            await queue(task_group, workers, "ABabc", ran)
        # The third thread still runs its bulk job.
        while len(ran) < 5:
            await anyio.lowlevel.checkpoint()
    # The last small job and the first bulk job may run at the same time, and end in either order.
    assert set(ran[:2]) < set("abc"), ran
    assert sorted(ran) == list("ABabc")


@on_every_loop
async def test_the_default_number_of_workers_is_two_to_32() -> None:
    assert 2 <= default_workers() <= 32


# --- Cancellation ---------------------------------------------------------------------------


@three_ways
async def test_a_call_cancelled_while_it_waits_ends_at_once_and_leaves_the_lane(way: str) -> None:
    workers, ran = FileWorkers(1), list[str]()
    for bulk in (False, True):
        wait = partial(workers.run, partial(ran.append, "cancelled"), bulk=bulk)
        async with held(workers) as gate, in_task(way, wait) as call:
            call.cancel()
            await settled()
            assert call.ended
            assert call.cancelled
            gate.open()
        await assert_all_free(workers)
    assert ran == []


@three_ways
async def test_a_thread_granted_to_a_call_cancelled_at_that_moment_goes_to_the_next(
    way: str,
) -> None:
    workers, ran = FileWorkers(1), list[str]()
    gate = Gate()

    async def hold_and_cancel() -> None:
        await workers.run(gate, bulk=False)
        # The thread is granted to the waiting call now, which has not run yet.
        call.cancel()

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(hold_and_cancel)
        await gate.reached.wait()
        wait = partial(workers.run, partial(ran.append, "cancelled"), bulk=False)
        async with in_task(way, wait) as call:
            await queue(task_group, workers, "n", ran)
            gate.open()
        assert call.cancelled
    assert ran[-1] == "n"
    await assert_all_free(workers)


@on_every_loop
@pytest.mark.parametrize("bulk", [False, True])
async def test_a_running_job_is_waited_for_and_keeps_its_thread(bulk: bool) -> None:
    workers, ran = FileWorkers(1), list[str]()
    gate = Gate()
    async with in_task("scope", partial(workers.run, gate, bulk=bulk)) as call:
        call.cancel()
        async with anyio.create_task_group() as task_group:
            await queue(task_group, workers, "n", ran)
            assert not call.ended
            assert ran == []
            gate.open()
    assert call.ended
    await assert_all_free(workers)


@on_every_loop
async def test_a_running_job_that_checks_for_cancellation_is_cancelled() -> None:
    workers, gate = FileWorkers(1), Gate()
    ran = []

    def job() -> None:
        gate()
        anyio.from_thread.check_cancelled()
        ran.append("to the end")

    async with in_task("scope", partial(workers.run, job, bulk=False)) as call:
        call.cancel()
        gate.open()
    assert call.cancelled
    assert ran == []
    await assert_all_free(workers)


@on_every_loop
async def test_run_to_end_runs_a_job_though_cancelled() -> None:
    workers = FileWorkers(1)

    def job() -> int:
        anyio.from_thread.check_cancelled()
        return 7

    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await workers.run_to_end(job) == 7
        await anyio.lowlevel.checkpoint()
        pytest.fail("was not cancelled after")
    await assert_all_free(workers)


@on_every_loop
async def test_run_to_end_waits_for_a_thread_though_cancelled() -> None:
    workers, ran = FileWorkers(1), list[str]()
    undo = partial(workers.run_to_end, partial(ran.append, "undone"))
    async with held(workers) as gate, in_task("scope", undo) as call:
        call.cancel()
        await settled()
        assert not call.ended
        gate.open()
    assert ran == ["undone"]


@on_every_loop
async def test_no_thread_is_lost_whenever_a_call_is_cancelled() -> None:
    # Cancelled after more and more steps of the loop: before it waits, waiting, granted, running
    # and done.
    workers, ran = FileWorkers(2), list[int]()

    async def cancelled(scope: anyio.CancelScope, bulk: bool) -> None:
        with scope:
            await workers.run(lambda: None, bulk=bulk)

    for steps in range(40):
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as task_group:
            for number in range(3):
                job = partial(ran.append, number)
                task_group.start_soon(partial(workers.run, job, bulk=bool(number % 2)))
            task_group.start_soon(cancelled, scope, bool(steps % 2))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert len(ran) == 120
    await assert_all_free(workers)
