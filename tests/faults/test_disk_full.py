"""The disk becomes full: in the cache, in the workspace, in .dvc/tmp, in DVC's state.

The tests fill a real tmpfs up to some pages, or up to some inodes. Each round leaves one more, so
that each write in turn is the one that fails. If nothing can be mounted, or the place shares its
file system with others, the system calls raise ENOSPC instead.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import session_files
from failing import full
from invariants import assert_nothing_lost, assert_sound
from isolated import in_worker
from logged import (
    MANY,
    Artifact,
    errors,
    log_all,
    write_all,
)
from tally import SURVIVED
from twin import Templates

import asynclive._ingest.copy_and_hash
import asynclive._stage.stage_job
from asynclive import AsyncLive, DvcYamlError, StorageError
from perf.harness.loop_filesystem import NotPossibleError, mounted, resize

pytestmark = pytest.mark.anyio

DISK_BYTES = 256 * 2**20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with mounted("tmpfs", DISK_BYTES, tmp_path) as point:
            yield point
    except NotPossibleError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["cache", "workspace", "one disk", "state"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def repo(
    place: str,
    disk: Path,
    templates: Templates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A repository with its part ``place`` on the small disk."""
    repo = templates.make(
        "git", (disk if place in ("workspace", "one disk") else tmp_path) / "base"
    )
    if place in ("cache", "workspace"):
        cache = (disk if place == "cache" else tmp_path) / "cache"
        cache.mkdir()
        (repo / ".dvc" / "cache").symlink_to(cache)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str((disk if place == "state" else tmp_path) / "s"))
    return repo


@contextmanager
def filled(disk: Path, *, pages: int | None = None, files: int | None = None) -> Iterator[None]:
    """Leave room on the disk for this number of pages, or of files, only."""
    disk_stat = os.statvfs(disk)
    used = (disk_stat.f_blocks - disk_stat.f_bfree) * disk_stat.f_frsize
    resize(
        disk,
        DISK_BYTES if pages is None else used + pages * PAGE,
        disk_stat.f_files if files is None else disk_stat.f_files - disk_stat.f_ffree + files,
    )
    try:
        yield
    finally:
        resize(disk, DISK_BYTES, disk_stat.f_files)


def stage_in_batch_processes(patch: pytest.MonkeyPatch) -> None:
    """Let a directory of ``MANY`` files be staged in batch processes, in either isolation."""
    limits = {"PROCESS_FILES": MANY, "PROCESS_BATCH_FILES": MANY // 4}
    for name, limit in limits.items():
        patch.setattr(asynclive._stage.stage_job, name, limit)
    in_worker(patch, f"from asynclive._stage import stage_job\nvars(stage_job).update({limits})")


async def log_with_growing_space(
    disk: Path, repo: Path, artifacts: list[Artifact], unit: str, step: int, isolation: Isolation
) -> tuple[int, int]:
    """Log with ``step`` more free pages or files in each round, until all calls succeed.

    In a worker process, with ``3 * step`` more: it works with the same engine.

    Returns:
        The number of rounds in which the disk was full, and the number of calls that failed.
    """
    failed = moments = 0
    if isolation == "process":
        step *= 3
    async with AsyncLive(root=repo, workers=3, isolation=isolation) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        while True:
            write_all(artifacts)
            with filled(disk, **{unit: step * moments}):
                refused_calls = errors(artifacts, await log_all(live, artifacts))
                assert session_files(repo, disk) == []
                assert_sound(repo)
            if not refused_calls:
                break
            for error in refused_calls.values():
                assert isinstance(error, StorageError | DvcYamlError)
                assert_no_space(error)
            failed += len(refused_calls)
            moments += 1
            again = [one for one in artifacts if one.name in refused_calls]
            assert not errors(again, await log_all(live, again))
    assert_nothing_lost(repo)
    SURVIVED[f"moments at which a disk was full, isolation={isolation!r}"] += moments
    SURVIVED[f"calls failed by a full disk, isolation={isolation!r}"] += failed
    return moments, failed


def assert_no_space(error: BaseException) -> None:
    cause = error.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC


SMALL = [("small", False), ("small", True), ("directory", False), ("directory", True)]
each_place = pytest.mark.parametrize("place", ["cache", "workspace", "one disk"], indirect=True)


@in_both
@pytest.mark.parametrize("place", ["one disk"], indirect=True)
async def test_every_call_is_old_or_new_when_the_disk_has_one_more_page_each_time(
    disk: Path, repo: Path, isolation: Isolation
) -> None:
    artifacts = [Artifact(repo, kind, copy) for kind, copy in SMALL]
    moments, failed = await log_with_growing_space(disk, repo, artifacts, "pages", 1, isolation)
    assert moments > (4 if isolation == "thread" else 1)
    assert failed > moments  # in some rounds, several calls of a group fail


@on_asyncio
@pytest.mark.long
@each_place
@pytest.mark.parametrize("unit", ["pages", "files"])
@in_both
async def test_every_call_is_old_or_new_when_each_place_has_one_more_page_or_file(
    disk: Path, repo: Path, place: str, unit: str, isolation: Isolation
) -> None:
    artifacts = [Artifact(repo, kind, copy) for kind, copy in SMALL]
    moments, _ = await log_with_growing_space(disk, repo, artifacts, unit, 1, isolation)
    assert moments > (4 if isolation == "thread" else 1)


@on_asyncio
@pytest.mark.long
@each_place
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize(("kind", "step"), [("large", 128), ("many", 8)])
@in_both
async def test_a_disk_that_becomes_full_in_the_middle_of_an_artifact_leaves_no_temp_file(
    disk: Path,
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: bool,
    kind: str,
    step: int,
    isolation: Isolation,
) -> None:
    """In the middle of a large file; or in a process that stages many small files."""
    stage_in_batch_processes(monkeypatch)
    moments, _ = await log_with_growing_space(
        disk, repo, [Artifact(repo, kind, copy)], "pages", step, isolation
    )
    # In the workspace, an artifact in place needs space for its .dvc file and entry only.
    assert moments > (2 if isolation == "thread" else 1) or (moments and not copy)


@in_both
@pytest.mark.parametrize("place", ["one disk"], indirect=True)
async def test_a_disk_that_becomes_full_in_a_batch_process_leaves_no_temp_file(
    disk: Path, repo: Path, monkeypatch: pytest.MonkeyPatch, isolation: Isolation
) -> None:
    stage_in_batch_processes(monkeypatch)
    moments, _ = await log_with_growing_space(
        disk, repo, [Artifact(repo, "many", True)], "pages", 24, isolation
    )
    assert moments > (2 if isolation == "thread" else 0)


@pytest.mark.parametrize("place", ["state"], indirect=True)
@pytest.mark.parametrize(
    ("pages", "isolation"), [(0, "thread"), (1, "thread"), (4, "thread"), (1, "process")]
)
async def test_artifacts_are_logged_even_if_dvcs_state_has_no_space(
    disk: Path, repo: Path, pages: int, isolation: Isolation, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = [Artifact(repo, kind, copy) for kind, copy in SMALL]
    async with AsyncLive(root=repo, isolation=isolation) as live:
        for free_pages in (pages, 10_000):
            write_all(artifacts)
            with filled(disk, pages=free_pages):
                assert not errors(artifacts, await log_all(live, artifacts))
            has_warned = "DVC's state cannot be written to" in caplog.text
            assert has_warned == (free_pages == pages)
            caplog.clear()
    assert_nothing_lost(repo)


FREE_BYTES = 24 * 2**20
# Where the small disk is, whether the artifact is copied, its number of files, and MiB per file.
LARGER = {
    "a file in place, for the cache": ("cache", False, 1, 25),
    "a file, for the cache": ("cache", True, 1, 25),
    "a file, for the workspace": ("workspace", True, 1, 25),
    "a file, for the object and the copy together": ("one disk", True, 1, 13),
    "a directory, for the workspace": ("workspace", True, 3, 9),
    "a directory, for the disk": ("one disk", True, 3, 9),
}


@pytest.mark.parametrize(
    ("place", "copy", "count", "mib"), LARGER.values(), ids=LARGER, indirect=["place"]
)
async def test_an_artifact_larger_than_the_free_space_is_refused_before_it_is_copied(
    disk: Path,
    repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: bool,
    count: int,
    mib: int,
) -> None:
    huge = (tmp_path if copy else repo) / "huge"
    files = [huge] if count == 1 else [huge / str(number) for number in range(count)]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, mib * 2**20)
    copied: list[int] = []
    copy_step = asynclive._ingest.copy_and_hash.copy_step

    def copy_step_counted(*args: int) -> int:
        copied.append(args[3])
        return copy_step(*args)

    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "copy_step", copy_step_counted)
    others = [Artifact(repo, "small", True), Artifact(repo, "directory", False)]
    write_all(others)
    refused: list[StorageError] = []
    async with AsyncLive(root=repo) as live:
        with filled(disk, pages=FREE_BYTES // PAGE):
            async with anyio.create_task_group() as task_group:

                async def log_huge() -> None:
                    with pytest.raises(StorageError) as caught:
                        await live.log_artifact(huge, copy=copy)
                    refused.append(caught.value)

                task_group.start_soon(log_huge)
                assert not errors(others, await log_all(live, others))
            assert session_files(repo, disk) == []
        (error,) = refused
        assert error.path == str(huge)
        assert error.errno == errno.ENOSPC
        assert "bytes are needed, and " in str(error)
        assert copied == []
        await live.log_artifact(huge, copy=copy)
        assert copied
    assert_nothing_lost(repo)


FULL = {
    "an object": r"/\.dvc/cache/files/md5/",
    "a copy, and its .dvc": r"/\.dvc/tmp/asynclive-",
    "the .dvc at its path": r"/small[^/]*\.dvc$",
    "the .gitignore": r"/\.gitignore$",
    "dvc.yaml": r"/asynclive-[0-9a-f]+/[0-9]+\.tmp$",
    "dvc.yaml at its path": r"/dvc\.yaml$",
    "the directory of the copies": r"/dvclive(/artifacts)?$",
}


@pytest.mark.parametrize("where", FULL)
async def test_calls_fail_and_leave_no_temp_file_if_only_one_place_is_full(
    templates: Templates, tmp_path: Path, where: str
) -> None:
    """The system calls raise ENOSPC, since these places share one disk."""
    repo = templates.make("git", tmp_path / "base")
    artifacts = [Artifact(repo, "small", copy) for copy in (False, True)]
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        with full(FULL[where]) as fault:
            failed = errors(artifacts, await log_all(live, artifacts))
            assert fault.failed_calls
            assert failed
            assert session_files(repo) == []
        for error in failed.values():
            assert_no_space(error)
        assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


# Code for a worker process: a place has no space as long as a file exists that the test removes.
_FULL_IN_WORKER = """
import os, failing
fail = failing.Fault.fail_if_chosen
def fail_if_full(self, name, args):
    if os.path.exists({marker!r}):
        fail(self, name, args)
failing.Fault.fail_if_chosen = fail_if_full
for_good = failing.full({pattern!r})
for_good.__enter__()
"""


@on_asyncio
@pytest.mark.parametrize("where", list(FULL)[::2])
async def test_calls_of_a_worker_process_fail_if_only_one_place_is_full(
    templates: Templates, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = templates.make("git", tmp_path / "base")
    artifacts = [Artifact(repo, "small", copy) for copy in (False, True)]
    write_all(artifacts)
    marker = tmp_path / "full"
    in_worker(monkeypatch, _FULL_IN_WORKER.format(marker=str(marker), pattern=FULL[where]))
    async with AsyncLive(root=repo, isolation="process") as live:
        marker.touch()
        failed = errors(artifacts, await log_all(live, artifacts))
        assert failed
        assert session_files(repo) == []
        for error in failed.values():
            assert_no_space(error)
        marker.unlink()
        assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)
