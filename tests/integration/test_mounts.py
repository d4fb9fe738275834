"""Log where a part of the repository is another disk or a mount point, as in containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import leftovers, objects, write
from invariants import content
from mounts import AnyMounts, Mounts, mounts_of
from twin import dvc, git

from asynclive import ArtifactPathError, AsyncLive, AsyncLiveError, StorageError

pytestmark = [pytest.mark.anyio, on_asyncio]

LARGE = "large " * 300_000


@pytest.fixture(params=["mounted", "scripted"])
def mounts(request: pytest.FixtureRequest, repo: Path, tmp_path: Path) -> Iterator[AnyMounts]:
    with mounts_of(request.param, tmp_path) as mounts:
        yield mounts
        assert leftovers(repo) == []
        assert not [*repo.rglob(".asynclive.*")]


def make_files(directory: Path) -> None:
    write(directory, {"small": "small", "large": LARGE, "data/a": "a", "data/sub/b": LARGE + "b"})
    (directory / "linked").write_text("linked")
    os.link(directory / "linked", directory / "data/linked")


async def log_and_check(repo: Path, paths: list[str], copy: bool) -> None:
    """Log each path twice, changed in between, and check the bytes, DVC's status and Git's."""
    sources = {path: content(repo / path) for path in paths}
    async with AsyncLive(root=repo) as live:
        for turn in range(2):
            if turn and (repo / paths[0]).is_file():
                (repo / paths[0]).unlink()
                (repo / paths[0]).write_text("other")
                sources[paths[0]] = content(repo / paths[0])
            for path in paths:
                logged = await live.log_artifact(path, copy=copy, type="model")
                assert content(logged.path) == sources[path], (path, turn)
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."
    assert not [line for line in git(repo, "status", "--short", "-uall") if "asynclive" in line]


@pytest.mark.parametrize("cache_type", ["reflink,copy", "symlink", "hardlink,copy"])
async def test_artifacts_in_a_volume_are_logged(
    repo: Path, mounts: AnyMounts, cache_type: str
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    make_files(mounts.volume(repo / "ckpt"))
    await log_and_check(repo, ["ckpt/small", "ckpt/large", "ckpt/linked", "ckpt/data"], copy=False)
    for name in ("small", "linked", "data/a", "data/linked"):
        assert (repo / "ckpt" / name).is_symlink() is (cache_type == "symlink"), name
    objects(repo)


@pytest.mark.parametrize("cache_type", ["reflink,copy", "symlink"])
async def test_a_volume_and_a_directory_around_one_are_logged(
    repo: Path, mounts: AnyMounts, cache_type: str
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    make_files(mounts.volume(repo / "ckpt"))
    make_files(repo / "data")
    make_files(mounts.volume(repo / "data/shard"))
    await log_and_check(repo, ["ckpt", "data"], copy=False)
    assert (repo / "data/shard/linked").is_symlink() is (cache_type == "symlink")


@pytest.mark.parametrize("place", ["dvclive", "dvclive/artifacts"])
@pytest.mark.parametrize("cache_type", ["reflink,copy", "hardlink", "symlink"])
async def test_copies_are_logged_in_a_volume(
    repo: Path, mounts: AnyMounts, place: str, cache_type: str
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    mounts.volume(repo / place)
    make_files(repo / "source")
    paths = ["source/small", "source/large", "source/linked", "source/data"]
    await log_and_check(repo, paths, copy=True)


@pytest.mark.parametrize("copy", [False, True])
async def test_temp_files_on_another_disk_are_hidden_from_git_and_dvc(
    repo: Path, mounts: AnyMounts, copy: bool
) -> None:
    volume = mounts.volume(repo / ("dvclive/artifacts" if copy else "ckpt"))
    make_files(repo if copy else volume)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("data" if copy else "ckpt/data", copy=copy)
        assert ".asynclive" not in git(repo, "status", "--short", "-uall")
        assert content(logged.path)
        # Another artifact of the same session, with a file that DVC would read.
        write(logged.path.parent / "more", {"a": "a"})
        await live.log_artifact(logged.path.parent / "more")
        assert dvc(repo, "status").strip() == "Data and pipelines are up to date."


async def test_a_copy_replaces_a_mount_point(repo: Path, mounts: AnyMounts) -> None:
    write(mounts.volume(repo / "dvclive/artifacts/data"), {"stale": "stale"})
    mounts.file(repo / "dvclive/artifacts/small")
    make_files(repo / "source")
    await log_and_check(repo, ["source/small", "source/data"], copy=True)


async def test_files_of_dvc_may_be_mount_points(repo: Path, mounts: AnyMounts) -> None:
    make_files(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("small", type="model")
    for name in ("dvc.yaml", ".gitignore", "small.dvc"):
        mounts.file(repo / name)
    await log_and_check(repo, ["small", "large"], copy=False)
    text = (repo / "dvc.yaml").read_text()
    assert "small" in text
    assert "large" in text


@pytest.mark.parametrize("cache_type", ["reflink,copy", "symlink"])
async def test_an_artifact_that_is_a_mount_point_is_logged(
    repo: Path, mounts: AnyMounts, cache_type: str
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    (repo / "model.pt").write_text(LARGE)
    mounts.file(repo / "model.pt")
    async with AsyncLive(root=repo) as live:
        for text in (LARGE, LARGE + "more", "small"):
            (repo / "model.pt").write_text(text)
            logged = await live.log_artifact("model.pt")
            assert logged.md5 in objects(repo)
            assert (repo / "model.pt").read_text() == text
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("copy", [False, True])
async def test_a_source_moves_within_its_disk(repo: Path, mounts: AnyMounts, copy: bool) -> None:
    make_files(mounts.volume(repo / "ckpt"))
    sources = {name: content(repo / "ckpt" / name) for name in ("small", "large", "data")}
    async with AsyncLive(root=repo) as live:
        for name, source in sources.items():
            logged = await (await live.submit(f"ckpt/{name}", move=True, copy=copy))
            assert content(logged.path) == source


async def test_a_mount_point_cannot_be_given_away(repo: Path, mounts: AnyMounts) -> None:
    make_files(mounts.volume(repo / "ckpt"))
    before = content(repo / "ckpt")
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactPathError, match="mount point"):
            await live.submit("ckpt", move=True)
        assert content(repo / "ckpt") == before
        await live.log_artifact("ckpt")


async def test_an_artifact_on_another_disk_is_taken_back(
    repo: Path, mounts: AnyMounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts.volume(repo / "dvclive/artifacts")
    make_files(mounts.volume(repo / "ckpt"))
    dvc(repo, "config", "cache.type", "symlink")
    calls = [("ckpt/data", True), ("ckpt/linked", False), ("ckpt/data", False)]
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("ckpt/data", copy=True)
        (repo / "ckpt/data/a").unlink()
        (repo / "ckpt/data/a").write_text("other")
        before = content(repo / "ckpt"), content(repo / "dvclive")
        with monkeypatch.context() as patch:
            fail = "asynclive._dvcyaml.async_files.AsyncFiles.replace_blocking"
            patch.setattr(fail, _raise_oserror)
            for path, copy in calls:
                with pytest.raises(AsyncLiveError):
                    await live.log_artifact(path, copy=copy, type="model")
                assert (content(repo / "ckpt"), content(repo / "dvclive")) == before
        for path, copy in calls:
            await live.log_artifact(path, copy=copy, type="model")


def _raise_oserror(*args: object) -> None:
    raise OSError("dvc.yaml cannot be replaced")


@pytest.fixture
def mount(repo: Path, tmp_path: Path) -> Iterator[Mounts]:
    """Mount for real: DVC itself must find the directories on other disks."""
    with mounts_of("mounted", tmp_path) as mounts:
        assert isinstance(mounts, Mounts)
        yield mounts


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("cache_type", ["hardlink,symlink", "reflink,hardlink,symlink,copy"])
async def test_a_link_is_of_the_first_type_that_reaches_the_disk(
    repo: Path, mount: Mounts, cache_type: str, copy: bool
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    volume = mount.volume(repo / ("dvclive/artifacts" if copy else "ckpt"))
    make_files(repo / "source" if copy else volume)
    paths = [f"{'source' if copy else 'ckpt'}/{name}" for name in ("small", "large", "linked")]
    await log_and_check(repo, paths, copy=copy)
    for name in ("small", "large", "linked"):
        assert (volume / name).is_symlink(), name


@pytest.mark.parametrize("volumes", [[".dvc/tmp"], [".dvc/cache"], [".dvc/tmp", ".dvc/cache"]])
async def test_the_directories_of_dvc_may_be_volumes(
    repo: Path, mount: Mounts, volumes: list[str]
) -> None:
    for volume in volumes:
        mount.volume(repo / volume)
    make_files(repo)
    await log_and_check(repo, ["small", "large", "linked", "data"], copy=False)
    await log_and_check(repo, ["small", "large", "linked", "data"], copy=True)


async def test_directories_of_an_image_layer_are_copied(
    repo: Path, tmp_path: Path, mount: Mounts
) -> None:
    make_files(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("data", copy=True)
    layers = mount.volume(tmp_path / "layers")
    merged = layers / "merged"
    merged.mkdir()
    mount.overlay(repo, layers, merged)
    (merged / "data/a").write_text("changed")
    async with AsyncLive(root=merged) as live:
        for _ in range(2):
            logged = await live.log_artifact("data", copy=True)
            assert content(logged.path) == content(merged / "data")
        source = content(merged / "data")
        logged = await (await live.submit("data", move=True))
        assert content(merged / "data") == source
    assert dvc(merged, "status").strip() == "Data and pipelines are up to date."


async def test_an_error_at_a_mount_point_says_so(repo: Path, mounts: AnyMounts) -> None:
    (repo / "small").write_text("small")
    mounts.volume(repo / "dvclive/artifacts/small")  # a directory, where a file is wanted
    async with AsyncLive(root=repo) as live:
        with pytest.raises(StorageError, match="mount point"):
            await live.log_artifact("small", copy=True)
