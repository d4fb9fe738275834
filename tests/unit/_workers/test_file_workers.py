"""FileWorkers: counted from inside, with gates to hold the threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import pytest
from cancelling import in_task, on_every_loop, settled, three_ways

from asynclive._workers import fairness
from asynclive._workers.bounded_gather import run_together
from asynclive._workers.file_workers import FileWorkers, StepRunner, default_workers

pytestmark = pytest.mark.anyio

TIMEOUT = 60  # seconds until a gate that nobody opens is a failure


class Gate:
    """Holds the thread that comes to it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = anyio.Event()

    def __call__(self) -> str:
        anyio.from_thread.run_sync(self.reached.set)
        assert self._open.wait(TIMEOUT)
        return "passed"

    def open(self) -> None:
        self._open.set()


@contextlib.asynccontextmanager
async def held(workers: FileWorkers, *, bulk: bool = False) -> AsyncIterator[Gate]:
    """One of the threads is busy until the gate opens, at the latest when the block is left."""
    gate = Gate()
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(partial(workers.run, gate, bulk=bulk))
        await gate.reached.wait()
        try:
            yield gate
        finally:
            gate.open()


async def queue(
    task_group: anyio.abc.TaskGroup, workers: FileWorkers, names: str, ran: list[str]
) -> None:
    """For each letter a job that writes it down; a capital is bulk."""
    for name in names:
        task_group.start_soon(partial(workers.run, partial(ran.append, name), bulk=name.isupper()))
        await settled()


async def assert_all_free(workers: FileWorkers) -> None:
    """All threads can be inside at once, so none of them is lost; and nobody waits."""
    for bulk, threads in ((False, workers.workers), (True, max(1, workers.workers - 1))):
        together = threading.Barrier(threads)
        async with anyio.create_task_group() as task_group:
            for _ in range(2 * threads):
                job = partial(together.wait, TIMEOUT)
                task_group.start_soon(partial(workers.run, job, bulk=bulk))


@on_every_loop
@pytest.mark.parametrize(("bulk", "threads"), [(False, 3), (True, 2)], ids=["small", "bulk"])
async def test_all_of_the_workers_and_never_more_are_inside(bulk: bool, threads: int) -> None:
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
async def test_a_lane_is_first_come_first_served() -> None:
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
async def test_the_lanes_of_a_single_thread_take_turns() -> None:
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
    assert sorted(ran[1:]) == list("AB")  # both threads get free, so in either order


@on_every_loop
async def test_while_bulk_work_runs_small_jobs_go_first() -> None:
    workers, ran = FileWorkers(3), list[str]()
    async with anyio.create_task_group() as task_group, held(workers, bulk=True):
        async with held(workers, bulk=True), held(workers):
            await queue(task_group, workers, "ABabc", ran)
        # The third thread is still in its bulk job.
        while len(ran) < 5:
            await anyio.lowlevel.checkpoint()
    # The last small job and the first bulk job may run side by side, and end in either order.
    assert set(ran[:2]) < set("abc"), ran
    assert sorted(ran) == list("ABabc")


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
        # The thread is the waiting call's by now, and that has not run yet.
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
async def test_a_running_job_that_looks_for_cancellation_finds_it() -> None:
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
async def test_what_must_run_to_its_end_does_so_though_cancelled() -> None:
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
async def test_what_must_run_to_its_end_waits_for_its_thread_though_cancelled() -> None:
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
    # After ever more steps of the loop: before it waits, waiting, granted, running, done.
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


# --- Many jobs ------------------------------------------------------------------------------


async def give(value: object) -> object:
    await anyio.lowlevel.checkpoint()
    return value


@on_every_loop
async def test_all_jobs_run_and_all_results_come_back() -> None:
    jobs = (partial(give, number) for number in range(40))
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
async def test_cancelled_it_starts_no_more_jobs() -> None:
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


@on_every_loop
async def test_without_a_number_there_are_as_many_as_the_process_has_cores_and_one() -> None:
    assert 2 <= default_workers() <= 32


async def test_what_nobody_waits_for_leaves_a_core_to_its_caller() -> None:
    workers = FileWorkers(4)
    workers.background.total_tokens = 1
    runner = StepRunner(workers, bulk=True, is_awaited=lambda: False, stand_back=True)
    first, second = Gate(), Gate()
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(runner.run_behind, first)
        await first.reached.wait()
        task_group.start_soon(runner.run_behind, second)
        await settled()
        assert workers.busy == 1
        first.open()
        await second.reached.wait()
        second.open()


@pytest.mark.parametrize("why", ["it is awaited", "its caller has not gone on"])
async def test_what_somebody_waits_for_takes_all_threads(why: str) -> None:
    workers = FileWorkers(4)
    workers.background.total_tokens = 1
    awaited = why == "it is awaited"
    runner = StepRunner(workers, bulk=True, is_awaited=lambda: awaited, stand_back=awaited)
    gates = [Gate(), Gate()]
    async with anyio.create_task_group() as task_group:
        for gate in gates:
            task_group.start_soon(runner.run_behind, gate)
        for gate in gates:
            await gate.reached.wait()
        for gate in gates:
            gate.open()


async def test_what_stands_back_waits_for_what_goes_first() -> None:
    workers = FileWorkers(4)
    runner = StepRunner(workers, bulk=True, stand_back=True)
    ran: list[str] = []
    async with anyio.create_task_group() as task_group:
        with workers.precedence:
            task_group.start_soon(runner.run_behind, partial(ran.append, "behind"))
            await runner.run(partial(ran.append, "first"))
            await settled()
            assert ran == ["first"]
    assert ran == ["first", "behind"]


async def test_a_step_of_what_is_large_waits_for_what_is_small() -> None:
    workers = FileWorkers(4)
    runner = StepRunner(workers, bulk=True)
    ran: list[str] = []
    async with anyio.create_task_group() as task_group:
        with workers.courtesy.asked():
            task_group.start_soon(runner.run_behind, partial(ran.append, "large"))
            await workers.run(partial(ran.append, "small"), bulk=False)
    assert ran == ["small", "large"]


async def test_it_does_not_wait_for_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairness, "COURTESY", 3600)
    workers = FileWorkers(4)
    with anyio.fail_after(60), contextlib.ExitStack() as later:
        async with anyio.create_task_group() as task_group:
            with workers.courtesy.asked():
                task_group.start_soon(StepRunner(workers, bulk=True).run_behind, lambda: None)
                await settled()
                later.enter_context(workers.courtesy.asked())


@pytest.mark.parametrize("bound", ["COURTESY", "PATIENCE"])
async def test_it_does_not_wait_for_long_nor_for_what_hangs(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(fairness, "COURTESY", 3600)
    monkeypatch.setattr(fairness, "PATIENCE", 3600)
    monkeypatch.setattr(fairness, bound, 0)
    workers = FileWorkers(4)
    with workers.courtesy.asked(), anyio.fail_after(60):
        await StepRunner(workers, bulk=True).run_behind(lambda: None)
