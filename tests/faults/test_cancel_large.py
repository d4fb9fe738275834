"""A call that copies and hashes 10 GB is cancelled: its threads stop within a few chunks.

The tests use no clock. They count the system calls that follow the cancellation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from backends import Isolation
from cancelling import in_task, settled
from disk import look
from gate import locked
from invariants import assert_nothing_lost, temp_files
from moments import Moments
from remote_moments import RemoteMoments
from worker_agent import Agents

import asynclive._cache.link_types
import asynclive._fs.kernel_copy
import asynclive._ingest.copy_and_hash
import asynclive._stage.deferred_removal
from asynclive import ArtifactChangedError, AsyncLive
from asynclive._ingest.copy_and_hash import CHUNK_BYTES

pytestmark = pytest.mark.anyio

SIZE = 10 * 10**9


@pytest.fixture(autouse=True)
def without_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the holes of files like other bytes: each file here is one hole, to save space."""
    for module in (asynclive._ingest.copy_and_hash, asynclive._fs.kernel_copy):
        monkeypatch.setattr(module, "has_holes", lambda found: False)


_HANDLING = ("copy_file_range", "sendfile", "read", "pread", "preadv", "write")


@pytest.mark.parametrize(
    ("number", "isolation"),
    [(20, "thread"), (60, "thread"), (200, "thread"), (60, "process")],
)
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
async def test_a_cancelled_call_with_a_10_gb_file_ends_within_a_few_chunks(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: bool,
    number: int,
    isolation: Isolation,
    agents: Agents,
) -> None:
    source = repo / "huge"
    source.touch()
    os.truncate(source, SIZE)  # a sparse file, which uses no disk space
    moments = Moments(monkeypatch) if isolation == "thread" else RemoteMoments(agents)
    async with AsyncLive(root=repo, workers=3, isolation=isolation) as live:
        moments.live = live
        before = look_at_all_but(repo, source)
        call, action = await moments.cancel_at(
            ("stage", number), "scope", lambda: live.log_artifact(source, type="data", copy=copy)
        )
        assert action
        assert call.cancelled
        after = moments.noted_calls()
        # Each thread finishes its current chunk, which it may write in two parts.
        assert sum(after[name] for name in _HANDLING) <= 4
        # The undo removes two or three paths. Its cost does not grow with the file.
        assert after.total() <= 20
        assert look_at_all_but(repo, source) == before
    assert moments.running == 0


async def test_a_cancelled_rewrite_of_a_large_file_from_its_object_ends_within_a_step(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As DVC does, a file with another hard link is rewritten: a write through it would change both.
    source = repo / "linked"
    source.write_bytes(bytes(range(256)) * 4 * 1024 * 4)
    os.link(source, repo / "other name")
    monkeypatch.setattr(asynclive._fs.kernel_copy.copy_step, "__defaults__", (2**16,))
    real, steps = asynclive._fs.kernel_copy.copy_file, 0

    def copy_and_cancel(source_fd: int, path: str, checkpoint: Callable[[], None]) -> None:
        def cancel_at_third_step() -> None:
            nonlocal steps
            steps += 1
            if steps == 3:
                anyio.from_thread.run_sync(scope.cancel)
                anyio.from_thread.run(settled)  # the caller passes its cancellation on
            checkpoint()

        real(source_fd, path, cancel_at_third_step)

    monkeypatch.setattr(asynclive._cache.link_types, "copy_file", copy_and_cancel)
    async with AsyncLive(root=repo) as live:
        before = look(repo, objects=False)
        with anyio.CancelScope() as scope:
            await live.log_artifact(source)
        assert scope.cancelled_caught
        assert steps == 3
        assert look(repo, objects=False) == before


class GatedFreeing:
    """Holds the first thread that frees the space of removed files, until ``go_on`` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.unlinked_sizes: list[int] = []
        """The sizes of the unlinked files that were open when freeing began."""
        self._may_go_on = threading.Event()
        self._real = asynclive._stage.deferred_removal._free
        monkeypatch.setattr(asynclive._stage.deferred_removal, "_free", self._wait_then_free)

    def go_on(self) -> None:
        self._may_go_on.set()

    def _wait_then_free(self, descriptors: Sequence[int], paths: Sequence[str]) -> None:
        asynclive._stage.deferred_removal._free = self._real
        files = [os.fstat(fd) for fd in descriptors]
        assert not any(file.st_nlink for file in files)
        self.unlinked_sizes = [file.st_size for file in files]
        self._may_go_on.wait()
        self._real(descriptors, paths)
        self.events.append("freed")


@pytest.mark.parametrize("when", ["copied", "staged"])
@pytest.mark.parametrize("isdir", [False, True], ids=["file", "directory"])
async def test_a_cancelled_caller_resumes_before_the_space_is_free_but_the_block_waits_for_it(
    repo: Path, monkeypatch: pytest.MonkeyPatch, isdir: bool, when: str
) -> None:
    source = repo / "large"
    files = [source / "one", source / "two"] if isdir else [source]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.truncate(file, 100_000_000)
    freeing, moments, resumed = GatedFreeing(monkeypatch), Moments(monkeypatch), anyio.Event()

    async def log_and_cancel() -> None:
        async with AsyncLive(root=repo, workers=3) as live:
            temps = temp_files(repo)
            if when == "copied":
                moments.live = live
                call, action = await moments.cancel_at(
                    ("stage", 60), "scope", lambda: live.log_artifact(source, copy=True)
                )
                assert action
            else:
                with locked(repo):
                    async with in_task(
                        "scope", lambda: live.log_artifact(source, copy=True)
                    ) as call:
                        while not live.statistics().staged:
                            await anyio.lowlevel.checkpoint()
                        call.cancel()
            assert call.cancelled
            freeing.events.append("resumed")
            if not isdir:  # the files in a directory keep their names for now
                assert temp_files(repo) == temps
            resumed.set()
        freeing.events.append("block left")

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_and_cancel)
            await resumed.wait()
            await settled()
            assert freeing.events == ["resumed"]
            freeing.go_on()
    finally:
        freeing.go_on()
    assert freeing.events == ["resumed", "freed", "block left"]
    if not isdir:
        # During the copy there are two large temp files. Once staged, one of them is an object.
        large = [size for size in freeing.unlinked_sizes if size > CHUNK_BYTES]
        assert len(large) == (2 if when == "copied" else 1)
    assert_nothing_lost(repo)
    assert not (repo / "dvclive").exists()


async def test_a_caller_resumes_before_the_space_of_the_replaced_copy_is_free(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = repo / "large"
    source.touch()
    os.truncate(source, 100_000_000)
    freeing = GatedFreeing(monkeypatch)
    try:
        async with AsyncLive(root=repo) as live:
            temps = temp_files(repo)
            first = await live.log_artifact(source, copy=True)
            os.truncate(source, 100_000_001)
            logged = await live.log_artifact(source, copy=True)
            freeing.events.append("resumed")
            assert logged.path.stat().st_size == 100_000_001
            assert logged.md5 != first.md5
            assert temp_files(repo) == temps
            freeing.go_on()
    finally:
        freeing.go_on()
    assert freeing.events == ["resumed", "freed"]
    assert freeing.unlinked_sizes == [100_000_000]
    assert_nothing_lost(repo)


async def test_a_call_that_fails_raises_only_once_the_space_is_free(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = repo / "large"
    source.touch()
    os.truncate(source, 100_000_000)
    freeing = GatedFreeing(monkeypatch)
    freeing.go_on()
    real, steps = asynclive._ingest.copy_and_hash.copy_step, 0

    def grows(*args: int) -> int:
        nonlocal steps
        steps += 1
        if steps == 40:
            os.truncate(source, 200_000_000)
        return real(*args)

    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "copy_step", grows)
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactChangedError):
            await live.log_artifact(source, copy=True)
        assert freeing.events == ["freed"]


async def test_a_large_artifact_waits_for_the_space_of_a_cancelled_one_but_a_small_one_does_not(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, small = repo / "large", repo / "small"
    source.touch()
    os.truncate(source, 100_000_000)
    small.write_text("small")
    freeing, moments = GatedFreeing(monkeypatch), Moments(monkeypatch)

    async def log(path: Path) -> None:
        await live.log_artifact(path, copy=True)
        freeing.events.append(path.name)

    try:
        async with AsyncLive(root=repo, workers=3) as live:
            moments.live = live
            call, _ = await moments.cancel_at(("stage", 60), "scope", lambda: log(source))
            assert call.cancelled
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(log, source)
                await log(small)
                freeing.go_on()
    finally:
        freeing.go_on()
    assert freeing.events[:2] == ["small", "freed"]
    assert "large" in freeing.events
    assert_nothing_lost(repo)


def look_at_all_but(repo: Path, source: Path) -> dict[str, str]:
    """Return the same as ``look``, without reading the source of 10 GB."""
    moved_source = repo.parent / source.name
    source.rename(moved_source)
    try:
        return look(repo, objects=False)
    finally:
        moved_source.rename(source)
