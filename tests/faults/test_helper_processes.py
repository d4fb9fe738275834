"""The worker process: another program than Python, signals for all processes, closed descriptors.

``tests/unit/_ingest/test_batch_processes.py`` has the same for batch processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from disk import write
from invariants import assert_nothing_lost
from isolated import pid_of
from twin import dvc

from asynclive import AsyncLive, WorkerDiedError
from asynclive._isolation import start_worker
from asynclive._workers import helper_process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="needs /bin/sh and signals of POSIX"),
]

NOT_PYTHON = {
    "sleeps": ("exec sleep 1000", "did not run as Python"),
    "prints its usage": ("exec >&2; echo usage: game; exit 2", "ended with status 2"),
    "ends at once": ("exit 0", "ended with status 0"),
    "cannot be run": (None, "Permission denied"),
    "is missing": ("", "No such file"),
}


def make_program(directory: Path, text: str | None) -> str:
    path = directory / "game"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o644 if text is None else 0o755)
    if text == "":
        path.unlink()
    return str(path)


@pytest.mark.parametrize("what", NOT_PYTHON)
async def test_entering_names_the_program_that_is_no_interpreter(
    repo: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = NOT_PYTHON[what]
    monkeypatch.setattr(helper_process, "START_SECONDS", 0.5)
    monkeypatch.setattr(sys, "executable", make_program(tmp_path, text))
    with pytest.raises(WorkerDiedError, match=message) as caught:
        async with AsyncLive(root=repo, isolation="process"):
            pass
    assert sys.executable in str(caught.value)
    assert "isolation='thread'" in str(caught.value)
    assert caught.value.status is None


@on_asyncio
async def test_entering_refuses_another_version_of_python(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        start_worker,
        "_COMMAND",
        "import sys; sys.implementation.cache_tag = 'cpython-27'\n" + start_worker._COMMAND,
    )
    with pytest.raises(WorkerDiedError, match="is cpython-27, and this program runs in"):
        async with AsyncLive(root=repo, isolation="process"):
            pass


@pytest.mark.parametrize("way", ["scope", "wait_for"])
@on_asyncio
async def test_entering_can_be_cancelled_while_the_program_does_not_answer(
    repo: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_process, "START_SECONDS", 1000)
    monkeypatch.setattr(sys, "executable", make_program(tmp_path, "exec sleep 1000"))
    started: list[subprocess.Popen[bytes]] = []
    start = helper_process.start

    def spy(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(helper_process, "start", spy)
    live = AsyncLive(root=repo, isolation="process")
    if way == "wait_for":
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(live.__aenter__(), 0.5)
    else:
        with anyio.move_on_after(0.5) as scope:
            await live.__aenter__()
        assert scope.cancelled_caught
    (process,) = started
    assert process.returncode == -signal.SIGKILL


@on_asyncio
async def test_a_slow_interpreter_gets_the_time_that_the_environment_says(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_process, "START_SECONDS", 0.1)
    slow = make_program(tmp_path, f'sleep 0.5\nexec {sys.executable} "$@"')
    monkeypatch.setattr(sys, "executable", slow)
    monkeypatch.setenv(helper_process.VARIABLE, "60")
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo, isolation="process") as live:
        assert (await live.log_artifact("model.pt")).size == 7


@on_asyncio
async def test_the_interpreter_may_be_a_child_of_its_wrapper(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = make_program(tmp_path, f'{sys.executable} "$@"\nexit $?')
    monkeypatch.setattr(sys, "executable", wrapper)
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo, isolation="process") as live:
        assert (await live.log_artifact("model.pt")).size == 7


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan"])
def test_a_start_timeout_that_is_no_time_is_refused(
    repo: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(helper_process.VARIABLE, value)
    with pytest.raises(ValueError, match=helper_process.VARIABLE):
        AsyncLive(root=repo, isolation="process")


SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGXCPU")


@on_asyncio
async def test_the_worker_ignores_the_signals_of_a_whole_job_from_its_first_moment(
    repo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"model.pt": "weights"})
    start = helper_process.start

    def signalled(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **options)
        for name in SIGNALS:
            process.send_signal(getattr(signal, name))
        return process

    monkeypatch.setattr(helper_process, "start", signalled)
    async with AsyncLive(root=repo, isolation="process") as live:
        for name in SIGNALS:
            os.kill(pid_of(live), getattr(signal, name))
        assert (await live.log_artifact("model.pt")).size == 7
    assert caplog.messages == []


# Logs with some of its standard descriptors closed, and reports the exit status of its worker.
CLOSED = """
import asyncio, os, sys
from asynclive import AsyncLive
from asynclive._isolation import worker_lifecycle

statuses = []
worker_lifecycle.describe_end = lambda status: statuses.append(status) or "ended"

async def main():
    async with AsyncLive(isolation="process") as live:
        await live.log_artifact("data")

asyncio.run(main())
open("said", "w").write(repr(statuses))
"""


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2), (1,), (0,)], ids=str)
def test_the_worker_ends_in_order_if_standard_descriptors_are_closed(
    repo: Path, tmp_path: Path, closed: tuple[int, ...]
) -> None:
    write(repo, {f"data/{number}": str(number) for number in range(30)})
    (tmp_path / "program.py").write_text(CLOSED)

    subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'exec "$0" "$1" {" ".join(f"{fd}>&-" for fd in closed)}',
            sys.executable,
            str(tmp_path / "program.py"),
        ],
        cwd=repo,
        check=True,
    )
    assert (repo / "said").read_text() == "[0]"
    (repo / "said").unlink()
    assert "up to date" in dvc(repo, "status")
    assert_nothing_lost(repo)


def test_a_socket_of_the_worker_is_no_standard_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker gets other files as its standard input and output."""
    taken = os.dup(0)
    try:
        os.close(0)
        process, socks = start_worker.start_worker(dict(os.environ), 1)
        with process, socks[0]:
            socks[0].settimeout(60)
            assert socks[0].recv(8)
    finally:
        os.dup2(taken, 0)
        os.close(taken)
