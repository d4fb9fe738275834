"""The steps of a commit are data: they pickle, and the committer undoes them one by one."""

from __future__ import annotations

import logging
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import tree
from dulwich.index import Index
from twin import Templates, dvc, git

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
from asynclive._errors import CommitError, LockTimeoutError
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


# --- core.autostage ---------------------------------------------------------------------------


@pytest.fixture
def autostage(repo: Path) -> None:
    dvc(repo, "config", "core.autostage", "true")


def in_index(repo: Path) -> set[str]:
    return {*git(repo, "diff", "--cached", "--name-only").split()}


async def test_a_group_is_taken_back_if_another_process_has_just_locked_gits_index(
    repo: Path, autostage: None, repository: DvcRepository
) -> None:
    (repo / "known.pt").write_text("first")
    commit(repository, await stage(repository, "known.pt", copy=False, cache=True))
    for name in ("known.pt", "new.pt"):
        (repo / name).write_text("second")
    before = tree(repo), in_index(repo)
    group = [
        await stage(repository, "known.pt", copy=False, cache=True),
        await stage(repository, "new.pt", copy=False, cache=True),
        await stage(repository, "new.pt", copy=True, cache=True),
    ]
    lock = repo / ".git" / "index.lock"
    lock.touch()
    outcomes = repository.commit(group)
    lock.unlink()
    assert [type(outcome) for outcome in outcomes] == [LockTimeoutError] * 3
    assert str(repository.timeout_error(6)) == str(LockTimeoutError(6, str(lock)))
    assert (tree(repo), in_index(repo)) == before
    assert [type(outcome) for outcome in repository.commit(group)] == [TrackedArtifact] * 3
    assert in_index(repo) >= {"known.pt.dvc", "new.pt.dvc", "new/copies/new.pt.dvc"}


async def test_only_an_artifact_that_git_does_not_add_is_taken_back(
    repo: Path, autostage: None, repository: DvcRepository
) -> None:
    git(repo, "config", "filter.fails.clean", "false")
    git(repo, "config", "filter.fails.required", "true")
    (repo / ".gitattributes").write_text("b.* filter=fails\n")
    names = ["a.pt", "b.pt", "c.pt"]
    for name in names:
        (repo / name).write_text(name)
    group = [await stage(repository, name, copy=False, cache=True) for name in names]
    first, second, third = repository.commit(group)
    assert isinstance(first, TrackedArtifact)
    assert isinstance(third, TrackedArtifact)
    assert isinstance(second, CommitError)
    assert "'git add' failed (core.autostage)" in str(second)
    assert second.__cause__ is not None
    assert in_index(repo) == {".gitignore", "a.pt.dvc", "c.pt.dvc"}
    assert not (repo / "b.pt.dvc").exists()
    assert git(repo, "show", ":.gitignore") == (repo / ".gitignore").read_text() == "/a.pt\n/c.pt\n"


async def test_an_artifact_that_is_taken_back_leaves_gits_index(
    repo: Path, autostage: None, repository: DvcRepository
) -> None:
    (repo / "model.pt").write_text("first")
    before = tree(repo), in_index(repo)
    tracked = commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    assert in_index(repo) == {".gitignore", "model.pt.dvc"}
    repository.take_back(tracked)
    assert (tree(repo), in_index(repo)) == before


async def test_an_artifact_in_a_submodule_is_tracked_and_not_added_to_the_outer_index(
    repo: Path, autostage: None, templates: Templates, tmp_path: Path
) -> None:
    other = templates.make("bare-git", tmp_path / "other")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    git(repo, "commit", "--quiet", "--message=Submodule")
    for name in ("sub/model.pt", "model.pt"):
        (repo / name).write_text("weights")
    repository = DvcRepository.open(str(repo.resolve()))
    assert repository.acquire()
    commit(repository, await stage(repository, "sub/model.pt", copy=False, cache=True))
    assert in_index(repo) == set()
    commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    assert in_index(repo) == {"model.pt.dvc", ".gitignore"}
    repository.release()
    repository.close()


async def test_what_git_adds_at_the_same_time_is_not_lost(
    repo: Path, autostage: None, repository: DvcRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.pt", "code.py"):
        (repo / name).write_text(name)
    staged = await stage(repository, "model.pt", copy=False, cache=True)
    write, statuses = Index.write, []

    def git_add_before(index: Index) -> None:
        command = ["git", "-C", str(repo), "add", "code.py"]
        statuses.append(subprocess.run(command, capture_output=True).returncode)
        write(index)

    monkeypatch.setattr(Index, "write", git_add_before)
    commit(repository, staged)
    assert len(statuses) == 1
    assert statuses[0] != 0 or "code.py" in in_index(repo)
    git(repo, "add", "code.py")
    assert in_index(repo) == {"model.pt.dvc", ".gitignore", "code.py"}
    assert [path.name for path in (repo / ".git").glob("index*")] == ["index"]


@pytest.mark.parametrize("content", ["", "asynclive {living}", "another program"])
async def test_the_lock_of_a_living_process_stays(
    repo: Path, autostage: None, repository: DvcRepository, content: str
) -> None:
    repository.release()
    lock = repo / ".git" / "index.lock"
    lock.write_text(content.format(living=repository.session.cache_tmp))
    assert not repository.acquire()
    assert lock.exists()
    lock.unlink()
    assert repository.acquire()


async def test_the_lock_that_a_killed_session_left_is_removed(
    repo: Path, autostage: None, repository: DvcRepository
) -> None:
    repository.release()
    for name in ("index.asynclive", "index.asynclive.lock", "index.lock"):
        (repo / ".git" / name).write_text(f"asynclive {repo}/.dvc/cache/.asynclive-killed")
    assert repository.acquire()
    (repo / "model.pt").write_text("first")
    commit(repository, await stage(repository, "model.pt", copy=False, cache=True))
    assert in_index(repo) == {"model.pt.dvc", ".gitignore"}
    assert [path.name for path in (repo / ".git").glob("index*")] == ["index"]
