"""Log many artifacts at once: each has its own error, and one thread at a time is in DVC."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from disk import write_numbered
from invariants import entries
from twin import dvc, git

from asynclive import (
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    InvalidMetadataError,
    LoggedArtifact,
)
from asynclive._dvc.repository.dvc_repository import DvcRepository

pytestmark = pytest.mark.anyio


class Section:
    """Count the threads inside DVC, and the artifacts of each group."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = 0
        self.most_inside = 0
        self.groups: list[int] = []

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commit = DvcRepository._commit

        def counted(repository: DvcRepository, group: Sequence[Any]) -> list[Any]:
            with self._lock:
                self.inside += 1
                self.most_inside = max(self.most_inside, self.inside)
                self.groups.append(len(group))
            try:
                return commit(repository, group)
            finally:
                with self._lock:
                    self.inside -= 1

        monkeypatch.setattr(DvcRepository, "_commit", counted)


async def gather(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Do the same as ``asyncio.gather(..., return_exceptions=True)`` on both event loops."""
    results: list[Any] = [None] * len(calls)

    async def run(index: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            results[index] = await call()
        except Exception as error:
            results[index] = error

    async with anyio.create_task_group() as task_group:
        for index, call in enumerate(calls):
            task_group.start_soon(run, index, call)
    return results


@on_asyncio
async def test_300_gathered_artifacts_are_logged_in_groups_by_one_thread(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_numbered(repo, 300)
    section = Section()
    section.watch(monkeypatch)
    async with AsyncLive(root=repo) as live:
        logged = await gather([partial(live.log_artifact, p, type="dataset") for p in paths])
    assert all(isinstance(one, LoggedArtifact) for one in logged)
    assert [one.path for one in logged] == paths
    assert all(path.with_name(f"{path.name}.dvc").is_file() for path in paths)
    assert set(entries(repo)) == {path.stem for path in paths}
    assert section.most_inside == 1
    assert sum(section.groups) == 300
    assert len(section.groups) < 300
    assert "up to date" in dvc(repo, "status")


async def test_two_objects_on_one_repository_enter_dvc_one_at_a_time(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_numbered(repo, 40)
    section = Section()
    section.watch(monkeypatch)
    async with AsyncLive(root=repo) as one, AsyncLive(root=repo) as other:
        logged = await gather(
            [
                partial((one, other)[number % 2].log_artifact, path, type="dataset")
                for number, path in enumerate(paths)
            ]
        )
    assert all(isinstance(result, LoggedArtifact) for result in logged)
    assert set(entries(repo)) == {path.stem for path in paths}
    assert section.most_inside == 1


async def test_three_bad_artifacts_among_twenty_good_ones_fail_alone(repo: Path) -> None:
    good = write_numbered(repo, 20)
    bad = [
        ({"path": "missing.bin", "type": "model"}, ArtifactNotFoundError),
        ({"path": ".dvcignore", "type": "model", "name": "in-git"}, ArtifactPathError),
        ({"path": good[0], "meta": {"fn": print}}, InvalidMetadataError),
    ]
    async with AsyncLive(root=repo) as live:
        results = await gather(
            [partial(live.log_artifact, path, type="dataset") for path in good]
            + [partial(live.log_artifact, **arguments) for arguments, _ in bad]
        )
    assert all(isinstance(result, LoggedArtifact) for result in results[:20])
    for result, (_, expected) in zip(results[20:], bad, strict=True):
        assert isinstance(result, expected)
    assert len({id(result) for result in results}) == 23
    assert set(entries(repo)) == {path.stem for path in good}


async def test_a_file_git_tracks_fails_alone_in_its_group(repo: Path) -> None:
    good = write_numbered(repo, 5)
    in_git = repo / "in-git.txt"
    in_git.write_text("in Git")
    git(repo, "add", in_git.name)
    async with AsyncLive(root=repo) as live:
        results = await gather([partial(live.log_artifact, p) for p in (*good, in_git)])
    assert all(isinstance(result, LoggedArtifact) for result in results[:5])
    assert isinstance(results[5], ArtifactPathError)
    assert "tracked by Git" in str(results[5])
    ignored = (repo / ".gitignore").read_text().split()
    assert sorted(ignored) == sorted(f"/{path.name}" for path in good)


@on_asyncio
async def test_asyncio_gather_and_wait_for_work_as_they_are(repo: Path) -> None:
    paths = write_numbered(repo, 3)
    async with AsyncLive(root=repo) as live:
        logged = await asyncio.gather(*(live.log_artifact(path) for path in paths))
        again = await asyncio.wait_for(live.log_artifact(paths[0]), timeout=None)
    assert [one.path for one in logged] == paths
    assert again == logged[0]


@on_asyncio
async def test_small_and_large_files_and_directories_are_logged_side_by_side(repo: Path) -> None:
    small = write_numbered(repo, 5)
    large = repo / "large.bin"
    large.write_bytes(bytes(range(256)) * 4096 * 5)
    tree = repo / "tree"
    for number in range(150):
        path = tree / f"{number % 7}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}")
    async with AsyncLive(root=repo, workers=2) as live:
        results = await gather(
            [partial(live.log_artifact, p) for p in (large, tree, *small)]
            + [partial(live.log_artifact, p, copy=True) for p in (large, tree, *small)]
        )
    assert all(isinstance(result, LoggedArtifact) for result in results)
    assert results[1].nfiles == 150
    copied = repo / "dvclive" / "artifacts" / "tree"
    for path in tree.rglob("*.txt"):
        assert (copied / path.relative_to(tree)).read_bytes() == path.read_bytes()
    assert "up to date" in dvc(repo, "status")
