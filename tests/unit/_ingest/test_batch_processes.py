"""BatchProcesses: they stage what threads would, and they start, fail and end as they should."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from layouts import leftovers, make_store, objects, request_of

from asynclive._artifact.plan import ArtifactPlan, PlannedFile
from asynclive._artifact.records import StagedArtifact
from asynclive._cache import hash_cache
from asynclive._cache.hash_cache_file import publish_hashes
from asynclive._cache.object_store import ObjectStore
from asynclive._errors import ArtifactChangedError, StorageError
from asynclive._ingest import batch_processes
from asynclive._ingest.workspace_files import WorkspaceFiles
from asynclive._stage import stage_job
from asynclive._stage import stager as stager_module
from asynclive._stage.stager import Stager
from asynclive._workers import helper_process
from asynclive._workers.file_workers import FileWorkers
from asynclive._workspace.source_scan import make_plan

pytestmark = pytest.mark.anyio

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="there is no /bin/sh")
in_both_ways = pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])


@pytest.fixture(autouse=True)
def always_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 1)
    monkeypatch.setattr(stage_job, "PROCESS_BATCH_FILES", 7)
    monkeypatch.setattr(stage_job, "BATCH_FILES", 8)  # it is bulk work


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    store = make_store(tmp_path)
    (tmp_path / "workspace" / "out").mkdir()
    return store


@pytest.fixture
def stager(store: ObjectStore) -> Iterator[Stager]:
    stager = Stager(store, FileWorkers(3))
    yield stager
    stager.close()


@pytest.fixture
def source(store: ObjectStore) -> Path:
    """Make small files: some equal, one executable, one empty, and a link."""
    source = Path(store.layout.root) / "data"
    for number in range(50):
        path = source / f"{number % 3}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % (number // 2) * number)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    (source / "1" / "1").chmod(0o755)
    (source / "link").symlink_to(source / "2" / "2")
    return source


async def plan_of(stager: Stager, source: Path, *, copy: bool) -> ArtifactPlan:
    def keep_all(root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        return dirs, files

    target = source.parent / "out" / "data"
    request = request_of(target, source=source) if copy else request_of(source)
    return await stager.sources.plan(request, lambda: keep_all)


def comparable(staged: StagedArtifact, *, copy: bool) -> Any:
    return (
        {file[:4] if copy or file.key == ("link",) else file for file in staged.files},
        staged.size,
        staged.nfiles,
    )


@in_both_ways
async def test_processes_give_the_same_result_as_threads(
    stager: Stager,
    store: ObjectStore,
    source: Path,
    tmp_path: Path,
    copy: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = await plan_of(stager, source, copy=copy)
    in_processes = await stager.stage(plan)
    stored = objects(store)
    assert 1 <= len(stager._processes._all) <= 2  # as many as there are threads for bulk work
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 10**6)
    in_threads = await stager.stage(plan)
    assert comparable(in_processes, copy=copy) == comparable(in_threads, copy=copy)
    assert objects(store) == stored
    if copy:
        assert in_processes.placement is not None
        assert in_threads.placement is not None
        one, other = (Path(s.placement.moves[-1].source) for s in (in_processes, in_threads))
        for below in other.rglob("*"):
            there, expected = (one / below.relative_to(other)).lstat(), below.lstat()
            assert (there.st_mode, there.st_mtime_ns) == (expected.st_mode, expected.st_mtime_ns)
            if below.is_file():
                assert (one / below.relative_to(other)).read_bytes() == below.read_bytes()
    for staged in (in_processes, in_threads):
        await stager.removal.discard(staged)
    assert leftovers(store) == []


@in_both_ways
async def test_of_a_directory_with_cached_hashes_processes_stage_the_changed_files(
    stager: Stager, source: Path, copy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stager_module, "MIN_CACHED_BYTES", 0)
    monkeypatch.setattr(hash_cache, "_is_settled", lambda planned, read_at_ns: True)
    staged = await stager.stage(await plan_of(stager, source, copy=copy))
    assert staged.pending_hashes is not None
    publish_hashes(staged.pending_hashes, None)
    new = {("0", "30"), ("2", "47")}
    for key in new:
        source.joinpath(*key).write_bytes(b"new")
    given: set[tuple[str, ...]] = set()
    stage_batch = batch_processes.BatchProcesses.stage_batch

    def spy(self: Any, workspace: WorkspaceFiles, files: Sequence[PlannedFile]) -> Any:
        given.update(file.key for file in files)
        return stage_batch(self, workspace, files)

    monkeypatch.setattr(batch_processes.BatchProcesses, "stage_batch", spy)
    again = await stager.stage(await plan_of(stager, source, copy=copy))
    # Every file of a copy is read, so processes stage all of them.
    assert given == {file.key for file in again.files} if copy else given == new
    md5s = {file.key: file.md5 for file in staged.files}
    changed = {file.key for file in again.files if file.md5 != md5s[file.key]}
    assert changed == new
    assert again.nfiles == staged.nfiles
    for each in (staged, again):
        await stager.removal.discard(each)


@in_both_ways
@pytest.mark.parametrize("refused", [["open", "O_TMPFILE"], ["link"], ["utime"]], ids=str)
async def test_files_that_the_plain_case_cannot_store_are_staged_by_the_fallback(
    stager: Stager,
    store: ObjectStore,
    source: Path,
    copy: bool,
    refused: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        batch_processes, "_COMMAND", _REFUSING.format(refused) + batch_processes._COMMAND
    )
    if refused == ["utime"] and copy:
        # It is refused in the fallback too, and the caller gets the error.
        with pytest.raises(StorageError, match="not here"):
            await stager.stage(await plan_of(stager, source, copy=copy))
        assert leftovers(store) == []
        return
    plan = await plan_of(stager, source, copy=copy)
    staged = await stager.stage(plan)
    assert {file.key for file in staged.files} == {file.key for file in plan.files}
    assert len(objects(store)) == len({file.md5 for file in staged.files})
    await stager.removal.discard(staged)
    assert leftovers(store) == []


_REFUSING = """
import errno, os
def refusing(real, flag):
    def call(*args, **options):
        if flag is None or args[1] & flag == flag:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(*args, **options)
    return call
name, flag = ({0} + [None])[:2]
refused = refusing(getattr(os, name), flag and getattr(os, flag))
if name == "utime":
    os.supports_fd.add(refused)
setattr(os, name, refused)
"""


async def test_an_object_that_was_changed_in_the_cache_is_replaced(
    stager: Stager, store: ObjectStore, source: Path
) -> None:
    plan = await plan_of(stager, source, copy=False)
    md5 = (await stager.stage(plan)).files[0].md5
    path = Path(store.object_path(md5))
    path.chmod(0o644)
    path.write_bytes(b"spoilt")
    await stager.stage(plan)
    assert objects(store).keys() >= {md5}
    assert path.stat().st_mode & 0o777 == store.layout.object_mode
    assert path.read_bytes() != b"spoilt"


@pytest.mark.skipif(not batch_processes.UNNAMED, reason="there are no files without a name here")
def test_a_process_begins_with_next_to_nothing_imported(
    store: ObjectStore, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (source / "link").unlink()
    said = tmp_path / "said"
    saying = f"import atexit, sys; atexit.register(lambda: open({str(said)!r}, 'w').write("
    saying += "' '.join(sys.modules)))"
    monkeypatch.setattr(batch_processes, "_COMMAND", saying + batch_processes._COMMAND)
    processes = batch_processes.BatchProcesses(store.layout)
    request = request_of(source)
    plan = make_plan(request, store.layout.root, lambda: lambda *names: names[1:], lambda: None)
    try:
        batch = processes.stage_batch(WorkspaceFiles(request, True, store, ""), plan.files)
    finally:
        processes.close()
    assert batch is not None
    assert batch.files_staged == len(batch.stored) == len(plan.files)
    imported = set(said.read_text().split())
    assert not imported & {"dataclasses", "pickle", "re", "site", "threading", "typing"}
    assert {name for name in imported if name.startswith("asynclive.")} == {
        "asynclive._fs",
        "asynclive._ingest",
        "asynclive._ingest.batch_pipe",
        "asynclive._ingest.batch_worker",
        "asynclive._workers",
        "asynclive._workers.os_priority",
        "asynclive._fs.file_io",
    }


@in_both_ways
async def test_an_error_in_a_process_is_raised_and_leaves_nothing(
    stager: Stager, store: ObjectStore, source: Path, copy: bool
) -> None:
    plan = await plan_of(stager, source, copy=copy)
    (source / "2" / "20").write_bytes(b"changed")
    with pytest.raises(ArtifactChangedError) as caught:
        await stager.stage(plan)
    assert caught.value.path == str(source / "2" / "20")
    assert leftovers(store) == []
    staged = await stager.stage(await plan_of(stager, source, copy=copy))
    assert staged.nfiles == len(plan.files)
    await stager.removal.discard(staged)


async def test_the_error_of_a_file_that_vanished_has_a_cause(
    stager: Stager, store: ObjectStore, source: Path
) -> None:
    plan = await plan_of(stager, source, copy=False)
    (source / "2" / "20").unlink()
    with pytest.raises(ArtifactChangedError, match="vanished") as caught:
        await stager.stage(plan)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


# The process kills itself at its third file.
_DYING = """
import hashlib, os
real, count = hashlib.md5, 0
def dying(*args, **options):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), 9)
    return real(*args, **options)
hashlib.md5 = dying
"""


@in_both_ways
async def test_the_work_of_a_process_that_is_killed_is_done_again(
    stager: Stager,
    store: ObjectStore,
    source: Path,
    copy: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_processes, "_MAX_LOST", 4)
    monkeypatch.setattr(batch_processes, "_COMMAND", _DYING + batch_processes._COMMAND)
    plan = await plan_of(stager, source, copy=copy)
    staged = await stager.stage(plan)
    assert {file.key for file in staged.files} == {file.key for file in plan.files}
    assert sum(file.size for file in staged.files) == plan.total_bytes
    assert len(objects(store)) == len({file.md5 for file in staged.files})
    assert stager._processes._lost in (4, 5)  # each of two threads may have had one
    await stager.removal.discard(staged)
    assert leftovers(store) == []


async def test_a_process_that_was_killed_while_idle_is_replaced(
    stager: Stager, source: Path
) -> None:
    plan = await plan_of(stager, source, copy=False)
    await stager.stage(plan)
    dead = list(stager._processes._all)
    for process in dead:
        process._process.kill()
        process._process.wait()
    assert (await stager.stage(plan)).nfiles == len(plan.files)
    assert stager._processes._lost == len(dead)
    assert not set(dead) & set(stager._processes._all)


def program(tmp_path: Path, text: str, mode: int = 0o755) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


NOT_PYTHON = {
    "sleeps": "exec sleep 1000",
    "closes its output": "exec >&-; exec sleep 1000",
    "prints its usage": "exec >&2; echo usage: game; exit 2",
    "ends at once": "exit 0",
    "is another Python": "echo asynclive runs in cpython-27; exec sleep 1000",
    "cannot be run": "",
}


@needs_shell
@pytest.mark.parametrize("what", NOT_PYTHON)
async def test_threads_stage_the_files_if_the_interpreter_is_another_program(
    store: ObjectStore,
    source: Path,
    tmp_path: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(helper_process, "START_SECONDS", 0.5)
    monkeypatch.setattr(helper_process, "END_SECONDS", 0.5)
    mode = 0o644 if what == "cannot be run" else 0o755
    monkeypatch.setattr(sys, "executable", program(tmp_path, NOT_PYTHON[what], mode))
    stager = Stager(store, FileWorkers(3))
    plan = await plan_of(stager, source, copy=False)
    staged = await stager.stage(plan)
    assert {file.key for file in staged.files} == {file.key for file in plan.files}
    assert stager._processes._all == []
    (warning,) = caplog.messages
    assert sys.executable in warning
    stager.close()


@needs_shell
async def test_an_interpreter_may_write_something_first_and_may_need_pythonhome(
    store: ObjectStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignores_environment = """case " $* " in *" -I "*|*" -E "*) exit 1;; esac"""
    text = f'{ignores_environment}\necho welcome\nexec {sys.executable} "$@"'
    monkeypatch.setenv("PYTHONHOME", f"{sys.base_prefix}:{sys.base_exec_prefix}")
    monkeypatch.setattr(sys, "executable", program(tmp_path, text))
    stager = Stager(store, FileWorkers(3))
    await stager.stage(await plan_of(stager, source, copy=False))
    assert stager._processes._all
    stager.close()


@needs_shell
async def test_processes_that_never_answer_end_when_they_are_closed(
    store: ObjectStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for them: threads stage the files."""
    monkeypatch.setattr(batch_processes, "_READY_SECONDS", 0)
    monkeypatch.setattr(sys, "executable", program(tmp_path, NOT_PYTHON["sleeps"]))
    stager = Stager(store, FileWorkers(3))
    await stager.stage(await plan_of(stager, source, copy=False))
    started = [process._process for process in stager._processes._all]
    stager.close()
    assert [process.poll() for process in started] == [-signal.SIGKILL] * len(started)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE], ids=errno.errorcode.get)
async def test_threads_stage_the_files_if_the_system_refuses_another_process(
    stager: Stager,
    source: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real, left = subprocess.Popen, [1]

    def refusing(*args: Any, **options: Any) -> Any:
        if not left:
            raise OSError(number, os.strerror(number))
        left.pop()
        return real(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", refusing)
    plan = await plan_of(stager, source, copy=False)
    staged = await stager.stage(plan)
    assert staged.nfiles == len(plan.files)
    assert len(stager._processes._all) == 1  # it goes on with fewer
    (warning,) = caplog.messages
    assert "ulimit -" in warning


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals of POSIX")
def test_a_process_ignores_the_signals_of_a_whole_job_from_its_first_moment(
    store: ObjectStore, source: Path
) -> None:
    processes = batch_processes.BatchProcesses(store.layout)
    names = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM"]
    names += ["SIGXCPU", "SIGTSTP"]
    workspace = WorkspaceFiles(request_of(source), True, store, "")
    try:
        processes.start_ahead(1)
        (process,) = processes._all
        for _ in range(2):  # while the interpreter starts, and when it is idle
            for name in names:
                process._process.send_signal(getattr(signal, name))
            assert processes.stage_batch(workspace, []) is not None
    finally:
        processes.close()
    assert process._process.returncode == 0


async def test_processes_end_when_they_are_closed(
    stager: Stager, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stager.stage(await plan_of(stager, source, copy=False))
    started = [process._process for process in stager._processes._all]
    assert started
    assert all(process.poll() is None for process in started)
    stager.close()
    assert [process.poll() for process in started] == [0] * len(started)


async def test_processes_start_while_a_large_directory_is_scanned(
    stager: Stager, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 51)  # with the link
    plan = await plan_of(stager, source, copy=False)
    started = list(stager._processes._all)
    assert len(started) == 2  # one for each thread of bulk work
    await stager.stage(plan)
    assert stager._processes._all == started


async def test_no_process_starts_for_a_small_directory(
    stager: Stager, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 52)
    await plan_of(stager, source, copy=False)
    assert stager._processes._all == []


async def test_no_process_starts_ahead_for_an_artifact_with_cached_hashes(
    stager: Stager, source: Path
) -> None:
    known = Path(stager._hash_cache._path(request_of(source)))
    known.parent.mkdir(parents=True, exist_ok=True)
    known.touch()
    await plan_of(stager, source, copy=False)
    assert stager._processes._all == []


@pytest.mark.parametrize(
    "forbid",
    [
        lambda patch: patch.setattr(batch_processes.sys, "executable", ""),
        lambda patch: patch.setattr(batch_processes.sys, "frozen", True, raising=False),
        lambda patch: patch.setattr(
            batch_processes.sys, "_is_gil_enabled", lambda: False, raising=False
        ),
    ],
    ids=["embedded", "frozen", "without the GIL"],
)
async def test_threads_stage_the_files_where_no_process_can_start(
    store: ObjectStore,
    source: Path,
    forbid: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        forbid(patch)
        stager = Stager(store, FileWorkers(3))
    staged = await stager.stage(await plan_of(stager, source, copy=False))
    assert stager._processes._all == []
    await stager.removal.discard(staged)


@pytest.mark.parametrize("types", [("hardlink", "copy"), ("symlink",)], ids="-".join)
async def test_threads_make_links(tmp_path: Path, types: tuple[str, ...]) -> None:
    store = make_store(tmp_path, *types)
    source = Path(store.layout.root) / "data"
    source.mkdir()
    (source / "file").write_bytes(b"data")
    stager = Stager(store, FileWorkers(3))
    staged = await stager.stage(await plan_of(stager, source, copy=False))
    assert stager._processes._all == []
    await stager.removal.discard(staged)
    assert leftovers(store) == []


def test_a_process_imports_nothing_from_the_working_directory(
    store: ObjectStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle.py", "types.py", "asynclive.py"):
        (tmp_path / name).write_text("raise SystemExit('imported by accident')")
    monkeypatch.chdir(tmp_path)
    processes = batch_processes.BatchProcesses(store.layout)
    try:
        workspace = WorkspaceFiles(request_of(source), True, store, "")
        assert processes.stage_batch(workspace, []) is not None
    finally:
        processes.close()
