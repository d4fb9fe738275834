"""Use AsyncLive from code that is not async: a ``with`` block, and calls from any thread."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from disk import leftovers, md5
from gate import locked
from s3_server import add_remote
from twin import dvc

from asynclive import (
    ArtifactCancelledError,
    ArtifactNotFoundError,
    AsyncLive,
    BlockingHandle,
    BlockingLive,
    DvcYamlError,
    NotActiveError,
    PushError,
    RemoteAccessError,
    RepositoryNotFoundError,
)
from asynclive._remote.local_remote import LocalRemote

pytestmark = pytest.mark.usefixtures("nothing_left_behind")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def tracked(repo: Path) -> set[str]:
    return {path.name for path in repo.glob("*.dvc") if path.is_file()}


@pytest.fixture
def live(repo: Path, anyio_backend: str) -> BlockingLive:
    return BlockingLive(AsyncLive(root=repo), backend=anyio_backend)


def test_a_handle_returns_the_logged_artifact(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with live as entered:
        assert entered is live
        handle = live.submit("model.pt", "model", name="net", meta={"step": 1})
        assert (handle.name, handle.path) == ("net", repo / "model.pt")
        logged = handle.result()
        assert handle.result(0) is logged
        assert (logged.md5, logged.type, logged.meta) == (md5("weights"), "model", {"step": 1})
        assert (handle.done, handle.stage) == (True, "logged")
        assert repr(handle) == "<BlockingHandle of 'model.pt': logged>"
    assert handle.result() is logged
    assert "up to date" in dvc(repo, "status")


def test_log_artifact_returns_the_logged_artifact(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        logged = live.log_artifact("model.pt", copy=True)
    assert (logged.md5, logged.path) == (md5("weights"), repo / "dvclive/artifacts/model.pt")


def test_blocking_takes_the_arguments_of_async_live(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    with AsyncLive.blocking("runs", root=repo, dvcyaml=None, workers=2) as live:
        assert live.statistics().total_workers == 2
        logged = live.log_artifact("model.pt", copy=True)
    assert logged.path == repo / "runs/artifacts/model.pt"
    with pytest.raises(ValueError, match="workers"):
        AsyncLive.blocking(workers=0)


def test_the_source_may_be_overwritten_once_submit_has_returned(
    repo: Path, live: BlockingLive
) -> None:
    handles = []
    with live:
        for number in range(5):
            (repo / "model.pt").write_text(f"weights {number}")
            handles.append(live.submit("model.pt", copy=True))
    assert [each.result().md5 for each in handles] == [md5(f"weights {n}") for n in range(5)]


def test_a_result_that_takes_too_long_raises_timeout_and_continues(
    repo: Path, live: BlockingLive
) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        with locked(repo) as gate:
            handle = live.submit("model.pt")
            with pytest.raises(TimeoutError, match=r"model.pt' is not logged after 0.01 s: staged"):
                handle.result(0.01)
            with pytest.raises(TimeoutError):
                handle.result(0)
            assert not handle.done
            gate.open()
        assert handle.result(60).md5 == md5("weights")


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_negative_timeout_is_refused(repo: Path, live: BlockingLive, timeout: float) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        handle = live.submit("model.pt")
        with pytest.raises(ValueError, match="timeout must not be negative"):
            handle.result(timeout)


def test_result_raises_the_error_of_its_artifact(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        with pytest.raises(ArtifactNotFoundError, match="missing"):
            live.submit("missing")
        (repo / "dvc.yaml").write_text("no: [yaml")
        handle = live.submit("model.pt", type="model")
        for _ in range(2):
            with pytest.raises(DvcYamlError):
                handle.result()
    with pytest.raises(DvcYamlError):
        handle.result()


def test_leaving_raises_an_error_that_no_call_asked_for(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with pytest.raises(Exception) as raised, live:  # noqa: PT012
        (repo / "dvc.yaml").write_text("no: [yaml")
        with locked(repo) as gate:
            handle = live.submit("model.pt", type="model")
            # A wait that timed out has not raised the error of the artifact.
            with pytest.raises(TimeoutError):
                handle.result(0.01)
            gate.open()
    (error,) = raised.value.exceptions  # type: ignore[attr-defined]
    assert isinstance(error, DvcYamlError)


# --- Pushes -----------------------------------------------------------------------------------


@pytest.fixture
def far(repo: Path) -> Path:
    """Configure a directory as the default remote of the repository."""
    far = repo.with_name("far")
    add_remote(repo, "far", {"url": str(far)})
    return far


class HeldSends:
    """Holds each object that a push sends, until ``go`` is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.reached = threading.Event()
        send = LocalRemote.send

        async def held(*args: Any) -> Any:
            self.reached.set()
            await anyio.to_thread.run_sync(self.go.wait)
            return await send(*args)

        patch.setattr(LocalRemote, "send", held)


def test_a_handle_returns_the_result_of_its_push(
    repo: Path, far: Path, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "model.pt").write_text("weights")
    sends = HeldSends(monkeypatch)
    with BlockingLive(AsyncLive(root=repo, push=True), backend=anyio_backend) as live:
        handle = live.submit("model.pt")
        with pytest.raises(ValueError, match="timeout must not be negative"):
            handle.pushed(-1)
        handle.result()
        sends.reached.wait()
        for seconds in (0.01, 0):
            with pytest.raises(TimeoutError, match=r"model.pt' is not pushed after .*: pushing"):
                handle.pushed(seconds)
        sends.go.set()
        result = handle.pushed()
        assert (result.remote, result.objects, result.bytes) == ("far", 1, 7)
        assert live.push("model.pt").skipped == 1
    assert handle.pushed() is handle.pushed(0) is result
    assert "in sync" in dvc(repo, "status", "-c")


def test_a_handle_raises_the_error_of_its_artifact_or_of_its_push(
    repo: Path, far: Path, live: BlockingLive, anyio_backend: str
) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        handle = live.submit("model.pt")
        for _ in range(2):
            with pytest.raises(PushError, match="this session pushes nothing"):
                handle.pushed()
    far.write_text("no directory")
    with BlockingLive(AsyncLive(root=repo, push=True), backend=anyio_backend) as live:
        (repo / "dvc.yaml").write_text("no: [yaml")
        failed = live.submit("model.pt", type="model")
        for _ in range(2):
            with pytest.raises(DvcYamlError):
                failed.pushed()
        (repo / "dvc.yaml").unlink()
        handle = live.submit("model.pt")
        with pytest.raises(RemoteAccessError):
            handle.pushed()
        with pytest.raises(RemoteAccessError):
            live.push()
    with pytest.raises(RemoteAccessError):
        handle.pushed()


# --- Threads, and the end of the block --------------------------------------------------------


def test_threads_may_submit_and_wait_at_once(repo: Path, live: BlockingLive) -> None:
    def log(number: int) -> str | None:
        (repo / f"{number}.bin").write_text(str(number))
        return live.submit(f"{number}.bin", type="dataset").result().md5

    with live, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(log, range(40))) == [md5(str(number)) for number in range(40)]
    assert live.statistics().logged == 40
    assert "up to date" in dvc(repo, "status")


def test_leaving_waits_for_the_artifacts_in_flight(repo: Path, live: BlockingLive) -> None:
    paths = [f"{number}.bin" for number in range(10)]
    for path in paths:
        (repo / path).write_text(path)
    with live:
        handles = [live.submit(path) for path in paths]
    assert [handle.stage for handle in handles] == ["logged"] * 10
    assert tracked(repo) == {f"{path}.dvc" for path in paths}
    assert live.statistics().in_flight == 0


def test_leaving_by_an_exception_cancels_and_raises_it(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with locked(repo), pytest.raises(KeyError, match="mine") as raised, live:  # noqa: PT012
        handle = live.submit("model.pt")
        raise KeyError("mine")
    assert handle.stage == "cancelled"
    assert tracked(repo) == set()
    with pytest.raises(NotActiveError, match="left by an exception"):
        handle.result()
    # Its traceback has no frame of the other thread.
    assert [frame.name for frame in raised.traceback] == [raised.traceback[0].name]


def test_a_thread_that_waits_gets_an_error_when_the_block_is_left(
    repo: Path, live: BlockingLive
) -> None:
    (repo / "model.pt").write_text("weights")
    with locked(repo), ThreadPoolExecutor(1) as threads:
        with pytest.raises(KeyError), live:  # noqa: PT012
            handle = live.submit("model.pt")
            waits = threads.submit(handle.result)
            raise KeyError("mine")
        with pytest.raises(NotActiveError):
            waits.result()


def test_the_result_of_a_cancelled_handle_is_an_error(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    with live:
        with locked(repo):
            handle = live.submit("model.pt")
            handle.cancel()
            with pytest.raises(ArtifactCancelledError):
                handle.result()
        assert handle.stage == "cancelled"
    handle.cancel()


def test_calls_outside_of_the_block_are_refused(repo: Path, live: BlockingLive) -> None:
    (repo / "model.pt").write_text("weights")
    assert live.statistics().logged == 0
    with pytest.raises(NotActiveError, match="not been entered"):
        live.submit("model.pt")
    with live, pytest.raises(NotActiveError, match="entered once"):
        live.__enter__()
    with pytest.raises(NotActiveError, match="been left"):
        live.submit("model.pt")
    with pytest.raises(NotActiveError, match="been left"):
        live.log_artifact("model.pt")
    with pytest.raises(NotActiveError, match="entered once"):
        live.__enter__()


def test_an_error_on_entering_is_raised_and_leaves_no_thread(
    tmp_path: Path, anyio_backend: str
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(RepositoryNotFoundError):
        BlockingLive(AsyncLive(root=tmp_path), backend=anyio_backend).__enter__()
    new = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in new if "portal" in name}


def test_methods_have_the_parameters_of_async_live() -> None:
    for name in ("submit", "log_artifact", "push", "drain", "statistics"):
        ours = inspect.signature(getattr(BlockingLive, name)).parameters
        theirs = inspect.signature(getattr(AsyncLive, name)).parameters
        assert {n: (p.kind, p.default) for n, p in ours.items()} == {
            n: (p.kind, p.default) for n, p in theirs.items()
        }, name
    assert {n for n in dir(BlockingHandle) if not n.startswith("_")} == {
        *("cancel", "done", "name", "path", "pushed", "result", "stage")
    }


INTERRUPTED = """
import sys
from asynclive import AsyncLive, BlockingLive

live = BlockingLive(AsyncLive(), backend=sys.argv[1])
try:
    with live:
        handle = live.submit("model.pt", copy=True)
        if sys.argv[2] == "result":
            print("waits", flush=True)
            handle.result()
        print("waits", flush=True)
except KeyboardInterrupt:
    print("interrupted", handle.stage, live.statistics().cancelled)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process there")
@pytest.mark.parametrize("where", ["result", "leaving"])
def test_ctrl_c_while_waiting_cancels_the_artifacts_and_leaves_cleanly(
    repo: Path, anyio_backend: str, where: str
) -> None:
    (repo / "model.pt").write_text("weights")
    with locked(repo):  # so that the process cannot end by itself
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", INTERRUPTED, anyio_backend, where],
            cwd=repo,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
    assert (printed, process.returncode) == ("interrupted cancelled 1\n", 0)
    assert errors.endswith("Submitted artifacts that were not logged (1): 'model.pt'.\n")
    assert errors.count("\n") == 1
    assert not (repo / "dvclive").exists()
    assert leftovers(repo) == []


FORKED = """
import os, sys, warnings
from asynclive import AsyncLive, BlockingLive, NotActiveError

warnings.simplefilter("ignore")  # a fork with threads is what this is about
with BlockingLive(AsyncLive(), backend=sys.argv[1]) as live:
    handle = live.submit("model.pt")
    child = os.fork()
    if not child:
        try:
            live.submit("model.pt")
        except NotActiveError as error:
            print("forked" in str(error), live.statistics().failed, flush=True)
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(handle.result().size)
"""


@needs_fork
def test_a_forked_child_gets_an_error_and_ends(repo: Path, anyio_backend: str) -> None:
    (repo / "model.pt").write_text("weights")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, anyio_backend],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True 0\n7\n7\n", "")
