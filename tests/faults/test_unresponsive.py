"""A worker process or a disk that does not answer: drain and leaving end, and the disk is sound."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from backends import on_asyncio
from disk import leftovers, md5, write
from gate import Gate
from invariants import assert_nothing_lost, assert_sound
from isolated import hold_worker, pid_of, process_of

from asynclive import AsyncLive, ExperimentError, WorkerDiedError
from asynclive._calls import drain
from asynclive._isolation import worker_watch
from asynclive._stage import source
from asynclive._workers import helper_process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP"),
]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "CANCEL_SECONDS", 0.2)
    monkeypatch.setattr(worker_watch, "HURRY_SECONDS", 3)
    monkeypatch.setattr(worker_watch, "_LEAST", 2)


class OneCall:
    """Logs the path "one"; the call outlives the block."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        self.error: Exception | None = None

    async def start(self, live: AsyncLive) -> None:
        self._tasks.start_soon(self._log, live)
        while not live.statistics().in_flight:
            await anyio.lowlevel.checkpoint()

    async def _log(self, live: AsyncLive) -> None:
        try:
            await live.log_artifact("one")
        except WorkerDiedError as error:
            self.error = error


def assert_ended(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def assert_next_session_works(repo: Path) -> None:
    assert_sound(repo)
    async with AsyncLive(root=repo, isolation="process") as live:
        assert (await live.log_artifact("one")).md5 == md5("1")
    assert leftovers(repo) == []
    assert_nothing_lost(repo)


async def test_drain_and_leaving_end_though_the_worker_is_stopped(repo: Path) -> None:
    write(repo, {"one": "1"})
    async with anyio.create_task_group() as tasks:
        call = OneCall(tasks)
        async with AsyncLive(root=repo, isolation="process", leave_timeout=None) as live:
            pid = pid_of(live)
            os.kill(pid, signal.SIGSTOP)
            await call.start(live)
            result = await live.drain(0)
            assert (result.logged, result.not_logged, result.unknown) == ((), (), ("one",))
    assert "did not answer for 3 s, so it was killed. 'one' was in flight" in str(call.error)
    assert_ended(pid)
    await assert_next_session_works(repo)


async def test_drain_and_leaving_end_though_a_disk_does_not_answer(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"one": "1"})
    async with anyio.create_task_group() as tasks:
        call = OneCall(tasks)
        with monkeypatch.context() as patch:
            hold_worker(patch, tmp_path / "go", "asynclive._stage", "source", "make_plan")
            async with AsyncLive(root=repo, isolation="process", leave_timeout=None) as live:
                pid = pid_of(live)
                await call.start(live)
                while not live.statistics().busy_workers:  # the thread has begun
                    await anyio.lowlevel.checkpoint()
                assert (await live.drain(0)).unknown == ("one",)
    assert "made no progress for 3 s, so it was killed" in str(call.error)
    assert_ended(pid)
    await assert_next_session_works(repo)


@pytest.mark.parametrize("kill", ["works", "does not"])
async def test_leaving_gives_up_a_worker_that_does_not_answer(
    repo: Path, kill: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that waits for a disk ends only when the disk answers."""
    write(repo, {"one": "1"})
    async with anyio.create_task_group() as tasks:
        call = OneCall(tasks)
        async with AsyncLive(root=repo, isolation="process", leave_timeout=2) as live:
            process = process_of(live)
            process.send_signal(signal.SIGSTOP)
            if kill == "does not":
                monkeypatch.setattr(helper_process, "KILL_SECONDS", 0.2)
                monkeypatch.setattr(subprocess.Popen, "kill", os.getpid)
            await call.start(live)
    assert "did not answer for 2 s" in str(call.error)
    assert len([text for text in caplog.messages if "did not answer" in text]) == 1
    if kill == "does not":
        assert_sound(repo)
        process.send_signal(signal.SIGKILL)
        process.wait()
    await assert_next_session_works(repo)


@on_asyncio
async def test_leaving_raises_that_the_experiment_was_not_saved(repo: Path) -> None:
    write(repo, {"one": "1"})
    with pytest.raises(ExperimentError, match="did not answer for 2 s"):  # noqa: PT012
        async with AsyncLive(
            root=repo, isolation="process", leave_timeout=2, save_dvc_exp=True
        ) as live:
            await live.log_artifact("one")
            os.kill(pid_of(live), signal.SIGSTOP)
    await assert_next_session_works(repo)


@on_asyncio
async def test_wait_for_ends_drain_and_leaving(repo: Path) -> None:
    write(repo, {"one": "1"})
    pids: list[int] = []
    is_left = asyncio.Event()

    async def stop_and_leave(call: OneCall) -> None:
        async with AsyncLive(root=repo, isolation="process", leave_timeout=None) as live:
            pids.append(pid_of(live))
            os.kill(pids[0], signal.SIGSTOP)
            await call.start(live)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(live.drain(None), 0.1)
            is_left.set()

    async with anyio.create_task_group() as tasks:
        call = OneCall(tasks)
        block = asyncio.create_task(stop_and_leave(call))
        await is_left.wait()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(block, 0.1)
    assert isinstance(call.error, WorkerDiedError)
    assert_ended(pids[0])
    await assert_next_session_works(repo)


async def test_drain_ends_though_a_thread_does_not(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"one": "1"})
    gate = Gate()
    make_plan = source.make_plan

    def held(*args: Any) -> Any:
        gate()
        return make_plan(*args)

    monkeypatch.setattr(source, "make_plan", held)
    async with (
        AsyncLive(root=repo, isolation="thread") as live,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(live.log_artifact, "one")
        await gate.reached.wait()
        result = await live.drain(0)
        assert (result.logged, result.not_logged, result.unknown) == ((), (), ("one",))
        gate.open()
        tasks.cancel_scope.cancel()
    assert live.statistics().cancelled == 1
    assert_sound(repo)
