"""isolation="process" with a Live, or an experiment: one side is killed, or holds the other up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
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
on_one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])

# What is to be recorded, the Live of the parent knows by then.
BEFORE_RECORDING = """
import os
from asynclive._dvcyaml.async_files import AsyncFiles

def replace_blocking(self, *args, replace=AsyncFiles.replace_blocking):
    {code}
    return replace(self, *args)

AsyncFiles.replace_blocking = replace_blocking
"""
# Once.
DIE = """if not os.path.isdir({marker!r}):
        os.mkdir({marker!r})
        os.kill(os.getpid(), 9)"""
HOLD = """os.write(said, b"h")
    open({go!r}).close()"""


@pytest.fixture
def live(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Live in the repository, which is the working directory; dvc.yaml is what it knows."""
    monkeypatch.chdir(repo)
    made = Live(save_dvc_exp=False)
    yield made
    made._dvc_repo.close()


@contextmanager
def held_before_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Said, Path]]:
    """Workers say ``h`` before they record something, and wait until the pipe is written to."""
    go = tmp_path / "go"
    os.mkfifo(go)
    with said_by_workers(tmp_path, monkeypatch) as said:
        in_worker(monkeypatch, BEFORE_RECORDING.format(code=HOLD.format(go=str(go))))
        yield said, go


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_a_killed_worker_had_not_recorded_the_live_forgets(
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


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_event_loop_that_the_live_holds_up_meanwhile_is_let_go(
    repo: Path, live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.pt": "a"})
    waits = threading.Event()
    lock = FileLock._lock_file

    def tell_lock(turn: FileLock) -> int | None:
        if threading.current_thread() is threading.main_thread():
            waits.set()
        return lock(turn)

    with held_before_recording(tmp_path, monkeypatch) as (said, go):
        monkeypatch.setattr(FileLock, "_lock_file", tell_lock)

        def go_on() -> None:
            assert waits.wait(30)
            go.write_bytes(b"")

        opener = threading.Thread(target=go_on)
        async with (
            AsyncLive(live=live, isolation="process") as async_live,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(async_live.log_artifact, "a.pt", "model")
            await said.until("h")
            opener.start()
            live.next_step()  # here, where the worker is listened to
            assert entries(repo) == {"a": {"path": "a.pt", "type": "model"}}
    opener.join()
    assert entries(repo) == {"a": {"path": "a.pt", "type": "model"}}


@pytest.mark.parametrize(
    ("anyio_backend", "way"),
    [("asyncio", "task.cancel"), ("asyncio", "wait_for"), ("trio", "scope")],
)
async def test_a_call_that_is_cancelled_while_it_is_recorded_is_known_to_the_live(
    repo: Path, live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    write(repo, {"a.pt": "a"})
    with held_before_recording(tmp_path, monkeypatch) as (said, go):
        async with AsyncLive(live=live, isolation="process") as async_live:
            log = lambda: async_live.log_artifact("a.pt", "model", copy=True)  # noqa: E731
            async with in_task(way, log) as call:
                await said.until("h")
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


@on_one_loop
@pytest.mark.parametrize("when", ["commit(self, group)", "replace(self, *args)"])
async def test_what_is_recorded_when_the_parent_is_killed_is_recorded_wholly(
    repo: Path, tmp_path: Path, when: str
) -> None:
    """Before the Live was told of it, and after."""
    write(repo, {"one": "1"})
    go = tmp_path / "go"
    os.mkfifo(go)
    said = Said(tmp_path / "said")
    if when.startswith("commit"):
        code = HELD_COMMIT.format(go=str(go))
    else:
        code = BEFORE_RECORDING.format(code=HOLD.format(go=str(go)))
    try:
        with running(PARENT, repo, said.code + code) as parent:
            await said.bereave(parent, go)
    finally:
        said.close()
    assert entries(repo)["one"]["path"] == "dvclive/artifacts/one"
    assert leftovers(repo) == []
    assert_nothing_lost(repo)
    SURVIVED["parents of isolation='process' killed by SIGKILL"] += 1


# --- An experiment that the worker saves --------------------------------------------------------


def experiment(repo: Path, name: str) -> set[str] | None:
    """What it has that the commit it starts from has not; None: there is no such."""
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    found = [ref for ref in refs if ref.endswith(f"/{name}")]
    if not found:
        return None
    return set(git(repo, "diff", "--name-only", "HEAD", found[0]).splitlines())


@on_one_loop
async def test_an_experiment_holds_also_what_a_killed_worker_had_logged(
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


@on_one_loop
async def test_an_experiment_whose_worker_is_killed_as_it_saves_is_said_to_be_lost(
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
        pass  # clears up after it
    assert_nothing_lost(repo)
