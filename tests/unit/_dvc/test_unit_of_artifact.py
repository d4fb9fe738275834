"""The unit of one artifact has its bytes and its listing, after the commit and before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import tree, write
from twin import dvc

from asynclive._artifact.push_records import PushUnit
from asynclive._artifact.records import StagedArtifact, TrackedArtifact
from asynclive._artifact.request import make_request
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._errors import ArtifactPathError, RemoteNotFoundError
from asynclive._stage.stager import Stager
from asynclive._workers.file_workers import FileWorkers

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
def repository(repo: Path) -> Iterator[DvcRepository]:
    dvc(repo, "remote", "add", "-d", "main", "../main")
    repository = DvcRepository.open(str(repo.resolve()))
    yield repository
    repository.close()


async def stage(
    repository: DvcRepository, name: str, *, copy: bool = False, cache: bool = True
) -> StagedArtifact:
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
    assert repository.acquire()
    try:
        (tracked,) = repository.commit([staged])
    finally:
        repository.release()
    assert isinstance(tracked, TrackedArtifact)
    return tracked


def bytes_of(unit: PushUnit | None) -> dict[str, bytes]:
    assert unit is not None
    found = {each.path: Path(unit.object_path(each)).read_bytes() for each in unit.objects}
    assert {path: len(data) for path, data in found.items()} == {
        each.path: each.size for each in unit.objects
    }
    if unit.listing is not None:
        assert Path(unit.object_path(unit.listing)).stat().st_size == unit.listing.size
    return found


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("name", ["model.pt", "data"])
async def test_it_is_the_same_before_the_commit_and_after_it(
    repo: Path, repository: DvcRepository, name: str, copy: bool
) -> None:
    files = {"model.pt": "model"} if name == "model.pt" else {"data/a": "a", "data/sub/b": "b"}
    write(repo, files)
    staged = await stage(repository, name, copy=copy)
    workspace = tree(repo)
    before = repository.unit_of_staged(staged, None)
    assert tree(repo) == workspace
    tracked = commit(repository, staged)
    after = repository.unit_of_tracked(tracked, None)
    assert after == before
    assert after is not None
    assert (after.listing is None) == (name == "model.pt")
    start = "new/copies/" if copy else ""
    assert bytes_of(after) == {start + path: text.encode() for path, text in files.items()}
    assert (after.listing or after.objects[0]).md5 == tracked.md5


async def test_of_a_path_in_a_tracked_directory_it_is_the_directory(
    repo: Path, repository: DvcRepository
) -> None:
    write(repo, {"data/a": "a", "data/b": "b"})
    commit(repository, await stage(repository, "data"))
    (repo / "data/b").unlink()
    (repo / "data/b").write_text("new b")
    staged = await stage(repository, "data/b")
    before = repository.unit_of_staged(staged, None)
    tracked = commit(repository, staged)
    # A later commit changes the directory. The unit is that of its own commit.
    write(repo, {"data/c": "c"})
    commit(repository, await stage(repository, "data/c"))
    after = repository.unit_of_tracked(tracked, None)
    assert after == before
    assert after is not None
    assert after.path == str(repo.resolve() / "data")
    assert bytes_of(after) == {"data/a": b"a", "data/b": b"new b"}


async def test_an_unchanged_output_is_a_unit_too(repo: Path, repository: DvcRepository) -> None:
    write(repo, {"data/a": "a"})
    first = commit(repository, await stage(repository, "data"))
    again = commit(repository, await stage(repository, "data"))
    assert repository.unit_of_tracked(again, None) == repository.unit_of_tracked(first, None)


async def test_it_obeys_the_dvc_file(repo: Path, repository: DvcRepository) -> None:
    write(repo, {"there": "there", "kept": "kept"})
    dvc(repo, "remote", "add", "other", "../other")
    dvc(repo, "add", "--quiet", "there", "kept")
    for name, line in [("there", "remote: other"), ("kept", "push: false")]:
        path = repo / f"{name}.dvc"
        path.write_text(path.read_text().replace("  path:", f"  {line}\n  path:"))
        (repo / name).unlink()
        (repo / name).write_text(f"new {name}")
    there, kept = await stage(repository, "there"), await stage(repository, "kept")
    for before in (True, False):
        if before:
            units = [repository.unit_of_staged(each, None) for each in (there, kept)]
        else:
            units = [
                repository.unit_of_tracked(commit(repository, each), None) for each in (there, kept)
            ]
        assert units[1] is None
        assert units[0] is not None
        assert units[0].remote.name == "other"
        assert bytes_of(units[0]) == {"there": b"new there"}


async def test_without_cache_there_is_none(repo: Path, repository: DvcRepository) -> None:
    write(repo, {"model.pt": "model"})
    staged = await stage(repository, "model.pt", cache=False)
    assert repository.unit_of_staged(staged, None) is None
    assert repository.unit_of_tracked(commit(repository, staged), None) is None


async def test_the_commit_that_would_refuse_it_refuses_it_before(
    repo: Path, repository: DvcRepository
) -> None:
    write(repo, {"data/a": "a"})
    dvc(repo, "add", "--quiet", "data/a")
    with pytest.raises(ArtifactPathError, match="contains"):
        repository.unit_of_staged(await stage(repository, "data"), None)


async def test_the_remote_may_be_unknown(repo: Path, repository: DvcRepository) -> None:
    write(repo, {"model.pt": "model"})
    with pytest.raises(RemoteNotFoundError, match="'main'"):
        repository.unit_of_staged(await stage(repository, "model.pt"), "gone")
