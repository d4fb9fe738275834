"""isolation="process": one side is killed. Nothing is lost, no temp file is left, calls go on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from backends import on_asyncio, on_trio
from cancelling import settled
from disk import leftovers, md5, write
from gate import locked
from invariants import assert_nothing_lost, assert_sound, entries
from isolated import HELD_COMMIT, Said, before_worker, pid_of
from killing import Killing
from points import Moment
from scenarios import EVERYTHING, Report
from session_process import running
from tally import SURVIVED
from twin import Templates, dvc

from asynclive import AsyncLive, RepositoryError, WorkerDiedError
from asynclive._isolation import worker_main

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]


# Makes the first worker process kill itself at the target; the next ones find the marker.
DIE = """
import os, sys
sys.path.insert(0, {directory!r})
import points
points.install()
def last_words(doing):
    points.arm(None)
    os.mkdir({marker!r})
if not os.path.isdir({marker!r}):
    points.arm(points.Armed({target!r}, last_words))
"""


async def log_all(live: AsyncLive, calls: tuple[dict[str, Any], ...]) -> list[Exception]:
    """Log all of them at once; return the errors."""
    errors: list[Exception] = []

    async def log(call: dict[str, Any]) -> None:
        try:
            await live.log_artifact(**call)
        except Exception as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(log, call)
    return errors


MOMENTS: list[tuple[str, Moment]] = [
    ("asyncio", ("stage large", 4)),
    ("trio", ("dvc.yaml", 10)),
    ("trio", ("stage small", 5)),
    ("asyncio", ("plan", 1)),
    ("asyncio", ("place", 0)),
    ("trio", (".dvc", 3)),
    ("asyncio", (".gitignore", 1)),
    ("trio", ("DVC's state", 1)),
    ("asyncio", ("lock", 1)),
]


@pytest.mark.parametrize(
    ("anyio_backend", "moment"),
    [
        pytest.param(
            backend, moment, id=f"{moment[0]}-{backend}", marks=[pytest.mark.long] if n > 1 else []
        )
        for n, (backend, moment) in enumerate(MOMENTS)
    ],
)
async def test_a_killed_worker_loses_nothing_and_another_worker_takes_over(
    templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    killing = Killing(None, templates, tmp_path, EVERYTHING)  # type: ignore[arg-type]
    repo = killing.fresh()
    write_files(repo, EVERYTHING.files)
    async with AsyncLive(root=repo) as live:
        assert await log_all(live, EVERYTHING.before) == []
    write_files(repo, EVERYTHING.changes)
    marker = tmp_path / "killed"
    directory = str(Path(__file__).parent)
    code = DIE.format(directory=directory, marker=str(marker), target=moment)
    before_worker(monkeypatch, code)
    async with AsyncLive(root=repo, isolation="process", lock_timeout=0) as live:
        first = pid_of(live)
        errors = await log_all(live, EVERYTHING.calls)
        assert marker.is_dir(), errors
        assert errors
        for error in errors:
            assert isinstance(error, WorkerDiedError), error
            assert (error.status, "SIGKILL" in str(error)) == (-signal.SIGKILL, True)
        assert pid_of(live) != first
        # The new worker has cleaned up after the first one, and has two directories itself.
        killing.check_killed(repo)
        assert len(leftovers(repo)) == 2
        assert await log_all(live, EVERYTHING.calls) == []
        assert live.statistics().failed == len(errors)
        assert live.statistics().in_flight == 0
    killing.check_complete(repo, Report(status={}))
    assert "up to date" in dvc(repo, "status")
    SURVIVED["workers of isolation='process' killed by SIGKILL"] += 1


def write_files(repo: Path, files: dict[str, bytes | None]) -> None:
    for name, data in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)


@on_asyncio
async def test_a_worker_killed_while_idle_is_replaced_without_an_error(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"one": "1", "two": "22"})
    async with AsyncLive(root=repo, isolation="process") as live:
        await live.log_artifact("one", type="model")
        os.kill(pid_of(live), signal.SIGKILL)
        while not caplog.records:
            await anyio.lowlevel.checkpoint()
        await live.log_artifact("two", type="model")
        statistics = live.statistics()
        assert (
            statistics.logged,
            statistics.failed,
            statistics.files_staged,
            statistics.bytes_staged,
        ) == (2, 0, 2, 3)
        assert statistics.groups == 2
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "The worker process was killed by SIGKILL."
    ]
    assert_nothing_lost(repo)


@on_trio
async def test_each_call_raises_the_reason_until_a_new_worker_can_start(repo: Path) -> None:
    write(repo, {"one": "1", "two": "2"})
    away = repo.with_name("away")
    async with AsyncLive(root=repo, isolation="process") as live:
        with locked(repo):
            handle = await live.submit("one")
            os.rename(repo, away)
            os.kill(pid_of(live), signal.SIGKILL)
            with pytest.raises(WorkerDiedError, match="'one'"):
                await handle
        for _ in range(2):
            with pytest.raises(RepositoryError):
                await live.log_artifact("two")
        os.rename(away, repo)
        assert (await live.log_artifact("two")).size == 1
        assert (handle.stage, live.statistics().failed) == ("failed", 3)
    assert_nothing_lost(repo)


@on_asyncio
async def test_the_next_session_cleans_up_if_the_worker_is_killed_while_the_block_raises(
    repo: Path,
) -> None:
    write(repo, {"one": "1"})

    async def fail_inside() -> None:
        async with AsyncLive(root=repo, isolation="process") as live:
            handles.append(await live.submit("one"))
            os.kill(pid_of(live), signal.SIGKILL)
            raise ZeroDivisionError

    handles: list[Any] = []
    with locked(repo), pytest.raises(ZeroDivisionError):
        await fail_inside()
    with pytest.raises(WorkerDiedError):
        await handles[0]
    assert_sound(repo)
    async with AsyncLive(root=repo):
        pass
    assert leftovers(repo) == []


@on_asyncio
async def test_a_moved_source_is_restored_before_the_call_raises_that_its_worker_died(
    repo: Path,
) -> None:
    write(repo, {"one": "1"})
    async with AsyncLive(root=repo, isolation="process") as live:
        with locked(repo):
            handle = await live.submit("one", move=True)
            assert not (repo / "one").exists()
            os.kill(pid_of(live), signal.SIGKILL)
            with pytest.raises(WorkerDiedError):
                await handle
            assert (repo / "one").read_text() == "1"
        assert (await live.log_artifact("one")).md5 == md5("1")
    assert_nothing_lost(repo)


# --- The parent is killed ---------------------------------------------------------------------

# Logs a file; its worker keeps the pipe open. With "fork", a child inherits all open files.
PARENT = """
import os, sys, anyio
from asynclive import AsyncLive
from asynclive._isolation import start_worker

repo, before, code, how = sys.argv[1:]
command = start_worker._COMMAND.replace("\\nserve()", f"\\n{code}\\nserve()")
start_worker._COMMAND = before + command

async def main():
    async with AsyncLive(root=repo, isolation="process") as live:
        if how == "fork" and os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: live.log_artifact("one", copy=True, type="model"))
            while not live.statistics().staged:
                await anyio.lowlevel.checkpoint()
            print("staged", flush=True)

anyio.run(main)
"""


@on_asyncio
@pytest.mark.parametrize("how", ["alone", "fork"])
async def test_the_worker_ends_and_leaves_nothing_when_the_parent_is_killed(
    repo: Path, tmp_path: Path, how: str
) -> None:
    if how == "fork" and not hasattr(os, "pidfd_open"):
        pytest.skip("without pidfd_open, the worker ends only with the forked child")
    write(repo, {"one": "1"})
    worker_output = Said(tmp_path / "said")
    try:
        with locked(repo), running(PARENT, repo, worker_output.code, "", how) as parent:
            assert await anyio.to_thread.run_sync(parent.line) == "staged"
            assert len(leftovers(repo)) == 2
            parent.kill()
            assert await worker_output.to_the_end() == "+"
            assert leftovers(repo) == []
    finally:
        worker_output.close()
    assert not (repo / "dvclive").exists()
    assert_nothing_lost(repo)
    SURVIVED["parents of isolation='process' killed by SIGKILL"] += 1


@on_asyncio
async def test_a_worker_is_notified_once_that_its_parent_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a worker that waits for a slow disk would only handle repeated notifications."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("without pidfd_open, only its sockets notify a worker of the end")
    notifications: list[object] = []
    is_notified = anyio.Event()

    def notify(socks: object) -> None:
        notifications.append(socks)
        is_notified.set()

    monkeypatch.setattr(worker_main, "_end_messages", notify)
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        monkeypatch.setattr(os, "getppid", lambda: parent.pid)
        with worker_main._ends_with(parent.pid, []):
            await is_notified.wait()
            await settled()
            await anyio.to_thread.run_sync(parent.wait)
    assert notifications == [[]]


@on_asyncio
async def test_a_group_that_commits_when_the_parent_is_killed_is_logged_completely(
    repo: Path, tmp_path: Path
) -> None:
    write(repo, {"one": "1"})
    go = tmp_path / "go"
    os.mkfifo(go)
    worker_output = Said(tmp_path / "said")
    hold = HELD_COMMIT.format(go=str(go))
    try:
        with running(PARENT, repo, worker_output.code, hold, "alone") as parent:
            await worker_output.bereave(parent, go)
    finally:
        worker_output.close()
    assert entries(repo)["one"]["path"] == "dvclive/artifacts/one"
    assert_nothing_lost(repo)
    async with AsyncLive(root=repo, isolation="process") as live:
        assert (await live.log_artifact("one", copy=True, type="model")).size == 1
