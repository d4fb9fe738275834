"""LargeFile: each of its tasks, where the file system shares blocks and where it does not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pytest

from asynclive._artifact.plan import PlannedFile
from asynclive._errors import ArtifactChangedError
from asynclive._fs.free_space import DiskSpace
from asynclive._fs.fsync import NO_SYNC
from asynclive._ingest import copy_and_hash
from asynclive._ingest.copy_and_hash import CopyOptions, LargeFile, Task

pytestmark = pytest.mark.anyio

STEP = 2**10
DATA = bytes(number % 251 for number in range(5 * STEP + 17))
MD5 = hashlib.md5(DATA).hexdigest()

# Answers of ``clone``: to the source and the first new file, and then to all others.
SHARING = {"no": [False], "only new files": [False, True], "all files": [True, True]}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_and_hash, "STEP_BYTES", STEP)
    monkeypatch.setattr(copy_and_hash, "SNAPSHOT_STEP_BYTES", 2 * STEP)
    monkeypatch.setattr(copy_and_hash, "CHUNK_BYTES", 300)


def clone_like(answers: list[bool]) -> Callable[[int, int], bool]:
    """Return a ``clone`` that gives these answers and repeats the last; True copies the bytes."""
    remaining = list(answers)

    def clone(source_fd: int, target_fd: int) -> bool:
        can = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if can:
            os.pwrite(target_fd, os.pread(source_fd, len(DATA) + 1, 0), 0)
        return can

    return clone


def planned_of(path: Path) -> PlannedFile:
    found = path.stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    return PlannedFile((), found.st_size, 0o644, found.st_ino, *times, 1, True)


async def in_thread(step: Callable[[], bool]) -> bool:
    return await anyio.to_thread.run_sync(step)


def make_large(source: Path, task: Task, copy: Path | None, *, shares: bool) -> LargeFile:
    temp = str(source.with_name("temp")) if task in (Task.COPY_AND_HASH, Task.SNAPSHOT) else None
    options = CopyOptions(shares, DiskSpace(), NO_SYNC, 2, lambda: False)
    return LargeFile(planned_of(source), str(source), temp, copy and str(copy), task, options)


@pytest.mark.parametrize("age", ["old", "new"])
@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("copied", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("task", [Task.COPY_AND_HASH, Task.COPY, Task.HASH_SNAPSHOT])
async def test_a_transfer_makes_the_files_of_its_task_and_hashes_their_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: Task,
    copied: bool,
    sharing: str,
    age: str,
) -> None:
    if task is Task.COPY and not copied:
        return
    source, copy = tmp_path / "source", tmp_path / "copy" if copied else None
    source.write_bytes(DATA)
    if age == "old":
        os.utime(source, ns=(1, 1))
    monkeypatch.setattr(copy_and_hash, "clone", clone_like(SHARING[sharing]))
    large = make_large(source, task, copy, shares=sharing != "no")
    try:
        md5 = await large.transfer(in_thread)
    finally:
        large.close()
    assert md5 == (None if task is Task.COPY else MD5)
    assert large.done_bytes == len(DATA)
    if copy is not None:
        assert copy.read_bytes() == DATA
    if task is Task.HASH_SNAPSHOT:
        assert large.new_object == str(source)
    elif large.new_object is not None:
        assert Path(large.new_object).read_bytes() == DATA
    assert large.options.space._reservations == set()


@pytest.mark.parametrize("sharing", SHARING)
async def test_a_snapshot_is_a_source_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharing: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    monkeypatch.setattr(copy_and_hash, "clone", clone_like(SHARING[sharing]))
    large = make_large(source, Task.SNAPSHOT, None, shares=sharing != "no")
    snapshot = await large.snapshot(in_thread)
    temp = tmp_path / "temp"
    assert temp.read_bytes() == DATA
    assert snapshot == planned_of(temp)._replace(ctime_ns=snapshot.ctime_ns)
    assert large._fds == []
    assert large.options.space._reservations == set()


async def test_a_source_that_was_cloned_and_then_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    os.utime(source, ns=(1, 1))
    monkeypatch.setattr(copy_and_hash, "clone", clone_like([True]))
    large = make_large(source, Task.COPY_AND_HASH, None, shares=True)
    read_at = copy_and_hash.read_at

    def write_first(fd: int, path: str, buffer: memoryview, offset: int) -> int:
        source.write_bytes(DATA[::-1])
        return read_at(fd, path, buffer, offset)

    monkeypatch.setattr(copy_and_hash, "read_at", write_first)
    try:
        with pytest.raises(ArtifactChangedError):
            await large.transfer(in_thread)
    finally:
        large.close()
