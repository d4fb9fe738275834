"""Log a path inside a tracked directory whose listing is not in the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import refused
from twin import dvc, git

from asynclive import AsyncLive, CommitError

pytestmark = [pytest.mark.anyio, on_asyncio]


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "remote"


@pytest.fixture
def clone(repo: Path, tmp_path: Path, remote: Path) -> Path:
    """Clone a repository with a directory that was pushed; nothing was pulled."""
    (repo / "data").mkdir()
    (repo / "data" / "old").write_text("old")
    dvc(repo, "add", "data")
    dvc(repo, "remote", "add", "-d", "storage", str(remote))
    dvc(repo, "push")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "data")
    git(tmp_path, "clone", "--quiet", str(repo), "clone")
    (tmp_path / "clone" / "data").mkdir()
    (tmp_path / "clone" / "data" / "new").write_text("new")
    return tmp_path / "clone"


async def test_the_listing_is_fetched_from_the_remote(clone: Path) -> None:
    async with AsyncLive(root=clone) as live:
        await live.log_artifact("data/new")
    assert "nfiles: 2" in (clone / "data.dvc").read_text()
    dvc(clone, "pull")
    assert (clone / "data" / "old").read_text() == "old"


async def test_a_listing_that_the_remote_has_not_is_an_error_that_says_how_to_get_it(
    clone: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(remote, away := remote.with_name("away"))
    async with AsyncLive(root=clone) as live:
        with refused(clone, CommitError, match=f"run 'dvc fetch {clone}/data.dvc'", objects=False):
            await live.log_artifact("data/new", type="t")
        assert not caplog.records
        shutil.move(away, remote)
        dvc(clone, "fetch", "data.dvc")
        await live.log_artifact("data/new", type="t")
    assert "nfiles: 2" in (clone / "data.dvc").read_text()


async def test_without_a_remote_the_error_says_how_to_add_one(clone: Path) -> None:
    dvc(clone, "remote", "remove", "storage")
    async with AsyncLive(root=clone) as live:
        with refused(clone, CommitError, match="'dvc remote add -d'", objects=False) as caught:
            await live.log_artifact("data/new")
    assert "'dvc fetch " in str(caught.value)


@pytest.mark.parametrize("mode", [0o444, 0o644], ids=["protected", "not protected"])
@pytest.mark.parametrize("damage", ["", "[]", '{"relpath": '])
async def test_a_damaged_listing_is_an_error_that_names_its_file(
    repo: Path, damage: str, mode: int
) -> None:
    (repo / "data").mkdir()
    (repo / "data" / "old").write_text("old")
    dvc(repo, "add", "data")
    (repo / "data" / "new").write_text("new")
    (listing,) = (repo / ".dvc" / "cache" / "files" / "md5").glob("??/*.dir")
    listing.chmod(0o644)
    listing.write_text(damage)
    listing.chmod(mode)
    async with AsyncLive(root=repo) as live:
        with refused(repo, CommitError, match=f"'{listing}'", objects=False):
            await live.log_artifact("data/new")
    assert listing.read_text() == damage
