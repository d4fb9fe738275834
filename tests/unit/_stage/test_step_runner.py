"""StepRunner: which steps wait for which, and the errors of steps."""

from __future__ import annotations

from functools import partial

import anyio
import pytest
from cancelling import settled
from worker_threads import Gate

from asynclive._errors import ArtifactChangedError, StorageError
from asynclive._stage.step_runner import StepRunner
from asynclive._workers.file_workers import FileWorkers

pytestmark = pytest.mark.anyio


async def test_a_step_that_no_task_awaits_leaves_a_core_to_the_caller() -> None:
    workers = FileWorkers(4)
    workers.background.total_tokens = 1
    runner = StepRunner(workers, "data", bulk=True, is_awaited=lambda: False, in_background=True)
    first, second = Gate(), Gate()
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(runner.run_yielding, first)
        await first.reached.wait()
        task_group.start_soon(runner.run_yielding, second)
        await settled()
        assert workers.busy == 1
        first.open()
        await second.reached.wait()
        second.open()


@pytest.mark.parametrize("why", ["a task awaits it", "the caller waits"])
async def test_steps_that_a_task_awaits_use_all_threads(why: str) -> None:
    workers = FileWorkers(4)
    workers.background.total_tokens = 1
    awaited = why == "a task awaits it"
    runner = StepRunner(
        workers, "data", bulk=True, is_awaited=lambda: awaited, in_background=awaited
    )
    gates = [Gate(), Gate()]
    async with anyio.create_task_group() as task_group:
        for gate in gates:
            task_group.start_soon(runner.run_yielding, gate)
        for gate in gates:
            await gate.reached.wait()
        for gate in gates:
            gate.open()


async def test_a_background_step_waits_for_work_that_goes_first() -> None:
    workers = FileWorkers(4)
    runner = StepRunner(workers, "data", bulk=True, in_background=True)
    ran: list[str] = []
    async with anyio.create_task_group() as task_group:
        with workers.waited_for_first:
            task_group.start_soon(runner.run_yielding, partial(ran.append, "background"))
            await runner.run(partial(ran.append, "first"))
            await settled()
            assert ran == ["first"]
    assert ran == ["first", "background"]


async def test_a_bulk_step_waits_for_small_artifacts() -> None:
    workers = FileWorkers(4)
    runner = StepRunner(workers, "data", bulk=True)
    ran: list[str] = []
    async with anyio.create_task_group() as task_group:
        with workers.small_first.small_running():
            task_group.start_soon(runner.run_yielding, partial(ran.append, "large"))
            await workers.run(partial(ran.append, "small"), bulk=False)
    assert ran == ["small", "large"]


@pytest.mark.parametrize("run", ["run", "run_first", "run_yielding"])
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (FileNotFoundError(2, "gone", "data/file"), ArtifactChangedError),
        (NotADirectoryError(20, "no directory", "data/a/b"), ArtifactChangedError),
        (FileNotFoundError(2, "gone", "cache/file"), StorageError),
        (PermissionError(13, "refused", "data/file"), StorageError),
    ],
    ids=["source", "directory", "cache", "refused"],
)
async def test_an_os_error_of_a_step_becomes_an_error_of_the_artifact(
    run: str, raised: OSError, expected: type[Exception]
) -> None:
    def step() -> None:
        raise raised

    runner = StepRunner(FileWorkers(1), "data", bulk=True)
    with pytest.raises(expected) as caught:
        await getattr(runner, run)(step)
    assert caught.value.__cause__ is raised
