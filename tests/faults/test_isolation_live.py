"""isolation="process" with a Live or an experiment: one side is killed, or blocks the other."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from backends import each_way_once, on_asyncio
from cancelling import in_task
from disk import leftovers, md5, write
from dvclive import Live
from invariants import assert_nothing_lost, entries
from isolated import HELD_COMMIT, Said, in_worker, pid_of, said_by_workers
from session_process import running
from tally import SURVIVED
from twin import git

from asynclive import AsyncLive, ExperimentError, WorkerDiedError
from asynclive._fs.file_lock import FileLock

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

# Runs code in the worker after the parent's Live was notified of entries, before they are recorded.
BEFORE_RECORDING = """
import os
from asynclive._dvcyaml.async_files import AsyncFiles

def replace_blocking(self, *args, replace=AsyncFiles.replace_blocking):
    {code}
    return replace(self, *args)

AsyncFiles.replace_blocking = replace_blocking
"""
# Kills the worker the first time only.
DIE = """if not os.path.isdir({marker!r}):
        os.mkdir({marker!r})
        os.kill(os.getpid(), 9)"""
HOLD = """os.write(said, b"h")
    open({go!r}).close()"""


@pytest.fixture
def live(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Live in the repository, which is the working directory. It writes entries to dvc.yaml."""
    monkeypatch.chdir(repo)
    live = Live(save_dvc_exp=False)
    yield live
    live._dvc_repo.close()


@contextmanager
def held_before_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Said, Path]]:
    """Workers write ``h`` before they record entries, and wait until the named pipe is written."""
    go = tmp_path / "go"
    os.mkfifo(go)
    with said_by_workers(tmp_path, monkeypatch) as worker_output:
        in_worker(monkeypatch, BEFORE_RECORDING.format(code=HOLD.format(go=str(go))))
        yield worker_output, go


async def test_the_live_drops_entries_that_a_killed_worker_has_not_recorded(
    repo: Path, live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "c.pt": "c"})
    live.log_artifact("a.pt", "model", name="m", copy=True)
    known = {name: dict(entry) for name, entry in live._artifacts.items()}
    marker = tmp_path / "killed"
    in_worker(monkeypatch, BEFORE_RECORDING.format(code=DIE.format(marker=str(marker))))
    async with AsyncLive(live=live, isolation="process") as async_live:
        first = pid_of(async_live)
        errors: list[Exception] = []

        async def log(path: str, name: str) -> None:
            try:
                await async_live.log_artifact(path, "other", name=name, copy=True)
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log, "b.pt", "m")
            tasks.start_soon(log, "c.pt", "n")
        assert marker.is_dir()
        assert [type(error) for error in errors] == [WorkerDiedError] * 2
        assert pid_of(async_live) != first
        assert live._artifacts == known
        live.next_step()
        assert entries(repo)["m"]["path"] == "dvclive/artifacts/a.pt"
        await async_live.log_artifact("c.pt", "other", name="n", copy=True)
        live.next_step()
        assert entries(repo)["n"] == {"path": "dvclive/artifacts/c.pt", "type": "other"}
    assert_nothing_lost(repo)
    SURVIVED["workers of isolation='process' killed by SIGKILL"] += 1


async def test_a_live_that_blocks_the_event_loop_waits_for_the_recording_and_then_goes_on(
    repo: Path, live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.pt": "a"})
    is_waiting = threading.Event()
    hold = FileLock.hold

    def signal_and_hold(lock: FileLock) -> AbstractContextManager[None]:
        if threading.current_thread() is threading.main_thread():
            is_waiting.set()
        return hold(lock)

    with held_before_recording(tmp_path, monkeypatch) as (worker_output, go):
        monkeypatch.setattr(FileLock, "hold", signal_and_hold)

        def go_on() -> None:
            assert is_waiting.wait(30)
            go.write_bytes(b"")

        opener = threading.Thread(target=go_on)
        async with (
            AsyncLive(live=live, isolation="process") as async_live,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(async_live.log_artifact, "a.pt", "model")
            await worker_output.until("h")
            opener.start()
            live.next_step()  # blocks the event loop that reads the worker's messages
            assert entries(repo) == {"a": {"path": "a.pt", "type": "model"}}
    opener.join()
    assert entries(repo) == {"a": {"path": "a.pt", "type": "model"}}


@each_way_once
async def test_the_live_keeps_the_entry_of_a_call_that_is_cancelled_while_it_is_recorded(
    repo: Path, live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    write(repo, {"a.pt": "a"})
    with held_before_recording(tmp_path, monkeypatch) as (worker_output, go):
        async with AsyncLive(live=live, isolation="process") as async_live:
            log = lambda: async_live.log_artifact("a.pt", "model", copy=True)  # noqa: E731
            async with in_task(way, log) as call:
                await worker_output.until("h")
                call.cancel()
                await anyio.to_thread.run_sync(go.write_bytes, b"")
            assert call.cancelled
            live.next_step()
            assert entries(repo)["a"] == {"path": "dvclive/artifacts/a.pt", "type": "model"}
    assert_nothing_lost(repo)


PARENT = """
import os, sys, anyio
from dvclive import Live
from asynclive import AsyncLive
from asynclive._isolation import start_worker

repo, code = sys.argv[1:]
os.chdir(repo)
start_worker._COMMAND = start_worker._COMMAND.replace("\\nserve()", f"\\n{code}\\nserve()")

async def main():
    with Live(save_dvc_exp=False) as live:
        async with AsyncLive(live=live, isolation="process") as async_live:
            print("entered", flush=True)
            await async_live.log_artifact("one", copy=True, type="model")

anyio.run(main)
"""


@on_asyncio
@pytest.mark.parametrize("when", ["commit(self, group)", "replace(self, *args)"])
async def test_an_entry_is_recorded_completely_if_the_parent_is_killed_during_its_commit(
    repo: Path, tmp_path: Path, when: str
) -> None:
    """The parent is killed before its Live is notified of the entry, or after that."""
    write(repo, {"one": "1"})
    go = tmp_path / "go"
    os.mkfifo(go)
    worker_output = Said(tmp_path / "said")
    if when.startswith("commit"):
        code = HELD_COMMIT.format(go=str(go))
    else:
        code = BEFORE_RECORDING.format(code=HOLD.format(go=str(go)))
    try:
        with running(PARENT, repo, worker_output.code + code) as parent:
            await worker_output.bereave(parent, go)
    finally:
        worker_output.close()
    assert entries(repo)["one"]["path"] == "dvclive/artifacts/one"
    assert leftovers(repo) == []
    assert_nothing_lost(repo)
    SURVIVED["parents of isolation='process' killed by SIGKILL"] += 1


# --- An experiment that the worker saves --------------------------------------------------------


def experiment(repo: Path, name: str) -> set[str] | None:
    """Return the files that the experiment changes; None: it does not exist."""
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    found = [ref for ref in refs if ref.endswith(f"/{name}")]
    if not found:
        return None
    return set(git(repo, "diff", "--name-only", "HEAD", found[0]).splitlines())


@on_asyncio
async def test_an_experiment_contains_what_a_killed_worker_had_logged(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"a.pt": "a", "sub/b.pt": "b"})
    async with AsyncLive(root=repo, save_dvc_exp=True, isolation="process") as live:
        name = live.exp_name
        assert name is not None
        await live.log_artifact("sub/b.pt")
        os.kill(pid_of(live), signal.SIGKILL)
        while not caplog.records:
            await anyio.lowlevel.checkpoint()
        await live.log_artifact("a.pt")
        assert live.exp_name == name
        os.kill(pid_of(live), signal.SIGKILL)
        while len(caplog.records) < 2:
            await anyio.lowlevel.checkpoint()
    files = experiment(repo, name)
    assert files is not None
    assert {"a.pt.dvc", ".gitignore", "sub/b.pt.dvc", "sub/.gitignore"} <= files


@on_asyncio
async def test_an_experiment_is_reported_lost_if_its_worker_is_killed_while_it_saves(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.pt": "a"})
    code = """
import os
from asynclive._dvclive.experiment import OwnExperiment
OwnExperiment.leave = lambda *_, **__: os.kill(os.getpid(), 9)
"""
    in_worker(monkeypatch, code)

    async def log() -> None:
        async with AsyncLive(
            root=repo, save_dvc_exp=True, exp_name="mine", isolation="process"
        ) as live:
            assert (await live.log_artifact("a.pt")).md5 == md5("a")

    with pytest.raises(ExperimentError, match="'mine': the worker process was killed by SIGKILL"):
        await log()
    assert experiment(repo, "mine") is None
    async with AsyncLive(root=repo):
        pass  # removes the temp files of the killed worker
    assert_nothing_lost(repo)
