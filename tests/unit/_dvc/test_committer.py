"""The steps of a commit are data: they pickle, and the committer undoes them one by one."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import tree

from asynclive._artifact.records import StagedArtifact, TrackedArtifact
from asynclive._artifact.request import make_request
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._dvc.tracking.commit_undo import (
    DvcFileReplaced,
    HiddenFromGit,
    OutputChanged,
    QueuedForGit,
    TempWritten,
)
from asynclive._stage.stager import Stager
from asynclive._workers.file_workers import FileWorkers
from asynclive._workspace.apply_placement import MadeParents, PlacementUndo

DVC_STEPS = (OutputChanged, HiddenFromGit, TempWritten, DvcFileReplaced, QueuedForGit)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
def repository(repo: Path) -> Iterator[DvcRepository]:
    repository = DvcRepository.open(str(repo.resolve()))
    assert repository.acquire()
    yield repository
    repository.release()
    repository.close()


async def stage(repository: DvcRepository, name: str, *, copy: bool, cache: bool) -> StagedArtifact:
    root = repository.root
    request = make_request(
        name,
        root=root,
        real_root=root,
        artifacts_dir=f"{root}/new/copies",
        copy=copy,
        cache=cache,
    )
    stager = Stager(ObjectStore(repository.layout), FileWorkers(1))
    return await stager.stage(await stager.sources.plan(request, repository.ignore_filter))


def commit(repository: DvcRepository, staged: StagedArtifact) -> TrackedArtifact:
    (tracked,) = repository.commit([staged])
    assert isinstance(tracked, TrackedArtifact)
    return tracked


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("copy", [True, False])
async def test_an_artifact_is_taken_back_by_its_pickled_record(
    repo: Path, repository: DvcRepository, copy: bool, cache: bool
) -> None:
    (repo / "model.pt").write_text("first")
    before = tree(repo)
    tracked = commit(repository, await stage(repository, "model.pt", copy=copy, cache=cache))
    assert (tree(repo) != before) == (copy or cache)
    kinds = [type(step) for step in tracked.undo]
    assert (MadeParents in kinds) == copy
    assert PlacementUndo in kinds or not copy
    assert [kind for kind in kinds if kind in DVC_STEPS] == (list(DVC_STEPS) if cache else [])
    repository.take_back(pickle.loads(pickle.dumps(tracked)))
    assert tree(repo) == before


async def test_an_artifact_that_was_tracked_before_gets_its_old_dvc_file_back(
    repo: Path, repository: DvcRepository
) -> None:
    path = repo / "model.pt"
    path.write_text("first")
    commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    path.write_text("second")
    before = tree(repo)
    tracked = commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    assert tree(repo) != before
    repository.take_back(tracked)
    assert tree(repo) == before
    again = commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    assert again.md5 == tracked.md5


async def test_the_earlier_steps_are_undone_if_a_later_one_cannot_be(
    repo: Path, repository: DvcRepository, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "model.pt").write_text("first")
    before = tree(repo)
    tracked = commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    (repo / "model.pt.dvc").unlink()
    (repo / "model.pt.dvc").mkdir()
    with caplog.at_level(logging.ERROR):
        repository.take_back(tracked)
    assert "model.pt' could not be taken back" in caplog.text
    (repo / "model.pt.dvc").rmdir()
    assert tree(repo) == before
