"""Test the features of isolation="process" alone: its process, log, priority and environment.

``tests/integration/test_engines.py`` tests the features that both engines share.
"""

from __future__ import annotations

import ctypes
import datetime
import logging
import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from backends import on_asyncio
from disk import md5, write
from invariants import assert_nothing_lost, entries
from isolated import Said, hold_worker, in_worker, pid_of

from asynclive import (
    AsyncLive,
    InvalidMetadataError,
)
from asynclive._ingest import copy_and_hash
from asynclive._isolation.messages import Numbers
from asynclive._isolation.process_engine import ProcessEngine
from asynclive._stage import stage_job
from asynclive._workers.os_priority import (
    BULK_SLICE_NS,
    NICENESS,
    SLICE_NS,
    Scheduling,
    WorkerScheduling,
)

pytestmark = pytest.mark.anyio


def make(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "sub/plain.txt": "plain", "noted": "noted"})
    write(repo, {f"data/{number % 3}/{number}": str(number) for number in range(20)})


# --- Errors -----------------------------------------------------------------------------------


def test_an_unknown_isolation_is_refused(repo: Path) -> None:
    with pytest.raises(ValueError, match="isolation must be 'thread' or 'process', not 'fork'"):
        AsyncLive(root=repo, isolation="fork")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("frozen", True)])
def test_isolation_by_process_is_refused_without_an_interpreter(
    repo: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    with pytest.raises(ValueError, match="Use isolation='thread'"):
        AsyncLive(root=repo, isolation="process")


@on_asyncio
async def test_isolation_by_process_is_the_default(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(repo)
    monkeypatch.delenv("ASYNCLIVE_ISOLATION")
    async with AsyncLive(root=repo) as live:
        assert pid_of(live) != os.getpid()
        assert (await live.log_artifact("model.pt")).size == 7


@on_asyncio
async def test_a_time_zone_that_cannot_be_pickled_is_refused(repo: Path) -> None:
    class Zone(datetime.tzinfo):
        def utcoffset(self, dt: datetime.datetime | None) -> datetime.timedelta:
            return datetime.timedelta(0)

    make(repo)
    async with AsyncLive(root=repo, isolation="process") as live:
        with pytest.raises(InvalidMetadataError, match="another process"):
            await live.log_artifact(
                "model.pt", meta={"at": datetime.datetime(2024, 1, 1, tzinfo=Zone())}
            )
        await live.log_artifact("model.pt", type="model")
        assert live.statistics().in_flight == 0


# --- Cancellation, and the end of the block ---------------------------------------------------


@on_asyncio
async def test_the_worker_reports_its_counts_even_if_no_call_makes_progress(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(repo)
    go = tmp_path / "go"
    hold_worker(monkeypatch, go, "asynclive._stage", "source", "make_plan")
    has_reported = anyio.Event()
    count = ProcessEngine._set_numbers

    def counted(self: ProcessEngine, numbers: Numbers) -> None:
        count(self, numbers)
        if numbers.busy_workers:
            has_reported.set()

    monkeypatch.setattr(ProcessEngine, "_set_numbers", counted)
    async with (
        AsyncLive(root=repo, isolation="process") as live,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(live.log_artifact, "model.pt", "model")
        with anyio.move_on_after(60):
            await has_reported.wait()
        busy = live.statistics().busy_workers
        await anyio.to_thread.run_sync(go.write_bytes, b"")
    assert busy == 1


# --- The worker process -----------------------------------------------------------------------


def slice_of(pid: int) -> int:
    """Return the scheduler slice of a process in ns; 0 if the system has no slices."""
    number = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return 0
    attributes = ctypes.create_string_buffer(56)
    assert ctypes.CDLL(None).syscall(number, pid, attributes, 56, 0) == 0  # sched_getattr
    return int.from_bytes(attributes[24:32], sys.byteorder)


@on_asyncio
async def test_the_worker_has_a_lower_priority_and_its_own_session_and_ends_with_the_block(
    repo: Path,
) -> None:
    async with AsyncLive(root=repo, isolation="process") as live:
        pid = pid_of(live)
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getsid(pid) == pid  # so that the terminal does not send it Ctrl-C
        autogroup = Path(f"/proc/{pid}/autogroup")  # the scheduler's group of its session
        if autogroup.exists():
            assert autogroup.read_text().endswith(f"nice {NICENESS}\n")
        slice_ns = slice_of(pid)
        if slice_ns:  # Linux 6.12 or later
            assert slice_ns == SLICE_NS > slice_of(os.getpid())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_threads_of_the_worker_use_a_shorter_slice_for_large_files() -> None:
    slices: list[int] = []

    def look() -> None:
        slices.append(slice_of(threading.get_native_id()))

    def run() -> None:
        Scheduling().run_bulk(look)  # outside a worker process: the slice does not change
        scheduling = WorkerScheduling()
        scheduling.start()
        scheduling.run_bulk(look)
        look()

    default_slice = slice_of(os.getpid())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert slices == ([default_slice, BULK_SLICE_NS, SLICE_NS] if default_slice else [0, 0, 0])


@pytest.mark.parametrize("isolation", ["thread", "process"])
@on_asyncio
async def test_large_files_are_read_in_the_chunks_of_their_isolation(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: Any
) -> None:
    log = tmp_path / "log"
    code = f"""
import gc
from asynclive._ingest import copy_and_hash
read_at = copy_and_hash.read_at
def counting(fd, path, buffer, offset):
    with open({str(log)!r}, "a") as file:
        file.write(f"{{len(buffer)}} {{gc.get_freeze_count() > 0}}\\n")
    return read_at(fd, path, buffer, offset)
copy_and_hash.read_at = counting
"""
    (repo / "model.pt").write_bytes(bytes(2**23))
    if isolation == "process":
        in_worker(monkeypatch, code)
    else:
        monkeypatch.setattr(
            copy_and_hash, "read_at", copy_and_hash.read_at
        )  # so that monkeypatch restores it at the end
        exec(code, {})
    async with AsyncLive(root=repo, isolation=isolation) as live:
        await live.log_artifact("model.pt")
    sizes, frozen = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    # In threads, a larger chunk takes the interpreter less often from a training loop in Python.
    chunks = 1 if isolation == "process" else stage_job.CHUNKS_AT_ONCE
    assert max(map(int, sizes)) == chunks * copy_and_hash.CHUNK_BYTES
    # Only the worker freezes its objects: the caller's garbage collector is the caller's own.
    assert set(frozen) == {str(isolation == "process")}


@on_asyncio
async def test_signals_for_the_parent_do_not_end_the_worker(repo: Path) -> None:
    make(repo)
    async with AsyncLive(root=repo, isolation="process") as live:
        os.kill(pid_of(live), signal.SIGINT)
        os.kill(pid_of(live), signal.SIGTERM)
        assert (await live.log_artifact("model.pt")).size == 7


@on_asyncio
async def test_each_object_has_its_own_worker(repo: Path) -> None:
    make(repo)
    async with (
        AsyncLive(root=repo, isolation="process") as one,
        AsyncLive(root=repo, isolation="process") as other,
        AsyncLive(root=repo) as third,
    ):
        assert pid_of(one) != pid_of(other)
        async with anyio.create_task_group() as tasks:
            for live, path in ((one, "model.pt"), (other, "data"), (third, "sub/plain.txt")):
                tasks.start_soon(live.log_artifact, path, "dataset")
    assert {entry["path"] for entry in entries(repo).values()} == {
        "model.pt",
        "data",
        "sub/plain.txt",
    }
    assert_nothing_lost(repo)


@on_asyncio
async def test_log_records_of_the_worker_reach_the_parent_at_the_parents_level(
    repo: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(repo)
    in_worker(
        monkeypatch,
        """
import logging
from asynclive._dvc.repository.dvc_repository import DvcRepository
commit = DvcRepository.commit
def talk(self, group):
    logging.getLogger("asynclive._dvc").debug("%s of %d", "debug", len(group))
    logging.getLogger("asynclive._dvc").info("%s of %d", "info", len(group))
    logging.getLogger("dvc.scm").warning("theirs")
    return commit(self, group)
DvcRepository.commit = talk
""",
    )
    caplog.set_level(logging.INFO, "asynclive")
    async with AsyncLive(root=repo, isolation="process") as live:
        await live.log_artifact("model.pt")
        assert [record.getMessage() for record in caplog.records] == ["info of 1", "theirs"]
        assert caplog.records[0].args == ("info", 1)
        assert caplog.records[0].process == pid_of(live)
        caplog.clear()
        caplog.set_level(logging.DEBUG, "asynclive")
        await live.log_artifact("data")
        assert "debug of 1" in caplog.messages


@on_asyncio
async def test_the_worker_has_the_callers_environment_and_working_directory(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker imports no module from the working directory by accident."""
    write(repo, {"pickle.py": "1/0", "asynclive.py": "1/0", "anyio.py": "1/0", "model.pt": "m"})
    seen = tmp_path / "seen"
    monkeypatch.chdir(repo)
    monkeypatch.setenv("SEEN_BY_THE_WORKER", "yes")
    in_worker(
        monkeypatch,
        f"""
import os
with open({str(seen)!r}, "w") as file:
    print(os.getcwd(), os.environ["SEEN_BY_THE_WORKER"], file=file)
""",
    )
    async with AsyncLive(isolation="process") as live:
        await live.log_artifact("model.pt")
    assert seen.read_text() == f"{repo} yes\n"


SCRIPT = """
import sys
import anyio
from asynclive import AsyncLive

print("imported")

async def main():
    async with AsyncLive(isolation="process") as live:
        print((await live.log_artifact("model.pt", type="model")).md5)
    print([name for name in ("dvc", "ruamel") if name in sys.modules])

anyio.run(main)
"""


@pytest.mark.parametrize("way", ["-c", "script"])
def test_a_program_needs_no_main_guard_and_imports_no_dvc(
    repo: Path, tmp_path: Path, way: str
) -> None:
    make(repo)
    (tmp_path / "script.py").write_text(SCRIPT)
    args = {"-c": ["-c", SCRIPT], "script": [str(tmp_path / "script.py")]}[way]
    completed = subprocess.run(
        [sys.executable, *args],
        cwd=repo,
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.splitlines() == ["imported", md5("weights"), "[]"]
    assert completed.stderr == ""


def test_event_loops_in_threads_have_their_own_workers(repo: Path) -> None:
    make(repo)
    errors: list[BaseException] = []

    async def log(path: str) -> None:
        async with AsyncLive(root=repo, isolation="process") as live:
            await live.log_artifact(path, type="dataset")

    def run(path: str, backend: str) -> None:
        try:
            anyio.run(log, path, backend=backend)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(path, backend))
        for path, backend in (("model.pt", "asyncio"), ("data", "trio"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {entry["path"] for entry in entries(repo).values()} == {"model.pt", "data"}
    assert_nothing_lost(repo)


NEVER_LEFT = """
import asyncio, sys
from asynclive import AsyncLive
from asynclive._isolation import start_worker

repo, code = sys.argv[1:]
start_worker._COMMAND = code + start_worker._COMMAND
live = AsyncLive(root=repo, isolation="process")
loop = asyncio.new_event_loop()
loop.run_until_complete(live.__aenter__())
loop.run_until_complete(live.log_artifact("model.pt"))
print("logged")
"""


@on_asyncio
async def test_the_worker_ends_with_a_program_that_never_leaves_its_block(
    repo: Path, tmp_path: Path
) -> None:
    make(repo)
    worker_output = Said(tmp_path / "said")
    try:
        completed = await anyio.run_process(
            [sys.executable, "-c", NEVER_LEFT, str(repo), worker_output.code],
            stderr=subprocess.DEVNULL,
        )
        assert completed.stdout == b"logged\n"
        assert await worker_output.to_the_end() == "+"
    finally:
        worker_output.close()
    assert_nothing_lost(repo)
