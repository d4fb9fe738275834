"""Run ``dvc gc`` while artifacts are in flight: each ``.dvc`` file names objects that exist."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from disk import dvc_file, refused, session_files, tree, write
from gate import gate_at
from invariants import assert_nothing_lost, dvc_files
from twin import Templates, dvc

import asynclive._ingest.workspace_files
from asynclive import ArtifactHandle, AsyncLive, CommitError
from asynclive._dvc.repository.repository_lock import RepositoryLock
from asynclive._dvc.tracking.dvc_file_writer import DvcFiles
from asynclive._ingest.copy_and_hash import LargeFile
from asynclive._stage.stager import Stager

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {"model.pt": "weights", "data/a": "a", "data/b/same": "a", "data/b/large": "l" * 2**21}


async def collect(repo: Path, *args: str) -> None:
    """Remove all objects that no .dvc file in the workspace names."""
    await anyio.to_thread.run_sync(partial(dvc, repo, "gc", "-w", "-f", *args))


async def log_around(
    patch: pytest.MonkeyPatch,
    log: Callable[[], Awaitable[object]],
    between: Callable[[], Awaitable[object]],
    at: tuple[Any, str] = (RepositoryLock, "acquire"),
) -> None:
    """Call ``log``; call ``between`` before ``at``, by default between stage and commit."""
    async with anyio.create_task_group() as tasks:
        with patch.context() as inner:
            gate = gate_at(inner, *at)
            with gate.opened_after():
                tasks.start_soon(log)
                await gate.reached.wait()
                await between()


CASES = ["model.pt", "data"]
CACHE_TYPES = ["reflink,copy", "hardlink", "symlink"]


@pytest.mark.parametrize("cache_type", CACHE_TYPES)
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("path", CASES)
async def test_objects_that_were_removed_before_the_commit_are_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, path: str, copy: bool, cache_type: str
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.log_artifact, path, copy=copy, type="t")
        await log_around(monkeypatch, log, partial(collect, repo))
    assert_nothing_lost(repo)
    assert dvc(repo, "status", "--json").strip() == "{}"


async def cut_off(repo: Path, names: str = "*") -> None:
    """Replace each object by its first byte, as a crash or a full disk may leave it."""
    for path in (repo / ".dvc/cache/files/md5").glob(f"??/{names}"):
        start = path.read_bytes()[:1]
        path.unlink()
        path.write_bytes(start)


@pytest.mark.parametrize("path", CASES)
async def test_objects_that_were_cut_off_before_the_commit_are_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    write(repo, {"model.pt": "weights", "data/a": "aaa", "data/b/large": "l" * 2**21})
    async with AsyncLive(root=repo, isolation="thread") as live:
        await log_around(monkeypatch, partial(live.log_artifact, path), partial(cut_off, repo))
    assert_nothing_lost(repo)


async def test_a_listing_that_was_cut_off_is_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynclive._cache.hash_cache._TICK_NS", 0)
    monkeypatch.setattr("asynclive._stage.stager.MIN_CACHED_BYTES", 0)
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        await live.log_artifact("data")
        await cut_off(repo, "*.dir")
        await live.log_artifact("data")
        assert live.statistics().files_unchanged  # else the test does not test this
    assert_nothing_lost(repo)


def add_and_forget(repo: Path) -> None:
    """Leave objects in the cache that no .dvc file names any more."""
    dvc(repo, "add", *CASES)
    for path in dvc_files(repo):
        path.unlink()


def track_directory(repo: Path) -> None:
    dvc(repo, "add", "data")
    write(repo, {"data/new": "new"})


@pytest.mark.parametrize(
    ("before", "path"),
    [
        (add_and_forget, "model.pt"),
        (add_and_forget, "data"),
        (track_directory, "data/new"),
    ],
)
async def test_objects_that_were_in_the_cache_already_are_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], None], path: str
) -> None:
    write(repo, FILES)
    before(repo)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.log_artifact, path)
        await log_around(monkeypatch, log, partial(collect, repo))
    assert_nothing_lost(repo)
    assert dvc(repo, "status", "--json").strip() == "{}"


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("path", CASES)
async def test_objects_of_an_unchanged_artifact_are_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, path: str, copy: bool
) -> None:
    monkeypatch.setattr("asynclive._cache.hash_cache._TICK_NS", 0)
    monkeypatch.setattr("asynclive._stage.stager.MIN_CACHED_BYTES", 0)
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        logged = await live.log_artifact(path, copy=copy)
        (tracked_by,) = dvc_files(repo)
        tracked_by.unlink()
        log = partial(live.log_artifact, path, copy=copy)
        await log_around(monkeypatch, log, partial(collect, repo))
        assert live.statistics().files_unchanged  # else the test does not test this
    assert logged.md5 is not None
    assert logged.md5 in tracked_by.read_text()
    assert_nothing_lost(repo)


@pytest.mark.parametrize("path", CASES)
async def test_objects_of_a_moved_source_are_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.submit, path, move=True)
        await log_around(monkeypatch, log, partial(collect, repo))
    assert_nothing_lost(repo)
    shutil.rmtree(repo / "data")
    (repo / "model.pt").unlink(missing_ok=True)
    dvc(repo, "checkout")
    assert (repo / path).exists()


async def test_bytes_that_no_file_has_any_more_are_an_error_and_nothing_is_recorded(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overwrite_and_collect() -> None:
        await submitted.wait()
        write(repo, {"model.pt": "of the next epoch"})
        await collect(repo)

    async def log() -> None:
        handle = await live.submit("model.pt", type="model")
        submitted.set()
        with pytest.raises(CommitError, match="'dvc gc' removed its objects"):
            await handle

    submitted = anyio.Event()
    write(repo, FILES)
    before = tree(repo)
    async with AsyncLive(root=repo, isolation="thread") as live:
        await log_around(monkeypatch, log, overwrite_and_collect)
        assert tree(repo) == before | {"model.pt": "of the next epoch"}
        await live.log_artifact("model.pt", type="model")
    assert_nothing_lost(repo)


async def test_objects_that_are_removed_again_and_again_are_an_error(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restore(self: Stager, staged: object, missing: set[str]) -> bool:
        return True  # as if another `dvc gc` came first each time

    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        monkeypatch.setattr(Stager, "restore", restore)
        handles: list[ArtifactHandle] = []

        async def submit() -> None:
            handles.append(await live.submit("data"))

        with refused(repo, CommitError, match="again and again", objects=False):
            await log_around(monkeypatch, submit, partial(collect, repo))
            await handles[0]


async def test_another_project_that_shares_the_cache_collects_it(
    repo: Path, templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = templates.make("git", tmp_path / "other")
    for project in (repo, other):
        dvc(project, "cache", "dir", str(repo / ".dvc" / "cache"))
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.log_artifact, "data")
        await log_around(monkeypatch, log, partial(collect, other, "-p", str(repo)))
    assert_nothing_lost(repo)


async def test_another_project_collects_the_cache_during_the_commit(
    repo: Path, templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = templates.make("git", tmp_path / "other")
    for project in (repo, other):
        dvc(project, "cache", "dir", str(tmp_path / "cache"))
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.log_artifact, "model.pt")
        await log_around(monkeypatch, log, partial(collect, other), at=(DvcFiles, "replace"))
    md5 = hashlib.md5(b"weights").hexdigest()
    assert (repo / "model.pt.dvc").read_text() == dvc_file("weights", "model.pt")
    assert (tmp_path / "cache/files/md5" / md5[:2] / md5[2:]).read_text() == "weights"
    assert dvc(repo, "status", "--json").strip() == "{}"


@pytest.mark.parametrize("submit", [False, True], ids=["logged", "submitted and moved"])
async def test_an_object_that_is_removed_before_a_link_to_it_is_made_is_stored_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch, submit: bool
) -> None:
    dvc(repo, "config", "cache.type", "hardlink")
    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread", workers=1) as live:
        log = partial(live.submit, move=True) if submit else live.log_artifact
        at = asynclive._ingest.workspace_files, "make_link"
        await log_around(monkeypatch, partial(log, "data"), partial(collect, repo), at)
    assert_nothing_lost(repo)
    assert dvc(repo, "status", "--json").strip() == "{}"


async def test_dvc_gc_leaves_the_temp_files_of_a_session(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def collect_and_compare() -> None:
        before = session_files(repo)
        assert any(".dvc/cache" in str(path) for path in before)
        await collect(repo)
        assert set(before) <= set(session_files(repo))

    write(repo, FILES)
    async with AsyncLive(root=repo, isolation="thread") as live:
        log = partial(live.log_artifact, "data")
        await log_around(monkeypatch, log, collect_and_compare, at=(LargeFile, "_hash_step"))
    assert_nothing_lost(repo)
