"""Log where DVCLive refuses, fails or spoils something; and raise the errors that both share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from reference import Reference
from trees import NESTED, both, cache_type, files, links
from twin import git

from asynclive import (
    ArtifactPathError,
    AsyncLive,
    InvalidDataTypeError,
    InvalidDvcyamlError,
)

pytestmark = pytest.mark.anyio


async def log(repo: Path, path: Any, **values: Any) -> None:
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(path, **values)


def cache_object(repo: Path, md5: str) -> Path:
    return repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


A_MD5 = "60b725f10c9c85c70d97880dfe8191b3"
"""Of ``a\\n``."""


class PathLike:
    """A path that is no ``Path``: DVCLive takes str and PurePath alone."""

    def __fspath__(self) -> str:
        return "model.bin"


async def test_any_path_like_is_a_path(repo: Path) -> None:
    files({"model.bin": "a\n"})(repo)
    await log(repo, PathLike())
    assert A_MD5 in (repo / "model.bin.dvc").read_text()


@pytest.mark.parametrize("path", [1, None, b"model.bin", ["model.bin"], object], ids=repr)
async def test_a_value_that_is_no_path_is_refused_in_the_same_words(
    repo: Path, reference: Reference, path: Any
) -> None:
    reference.open(repo, {}, {})
    theirs = reference.log(path, {})
    reference.close()
    with pytest.raises(InvalidDataTypeError) as ours:
        await log(repo, path)
    assert theirs.refused == f"InvalidDataTypeError: {ours.value}"


@pytest.mark.parametrize("dvcyaml", ["x.yaml", "dvc.yml", "sub/", "dvc.yaml/x", "DVC.YAML"])
def test_dvcyaml_of_another_name_is_refused_by_both(
    repo: Path, reference: Reference, dvcyaml: str
) -> None:
    with pytest.raises(RuntimeError, match="InvalidDvcyamlError"):
        reference.open(repo, {}, {"dvcyaml": dvcyaml})
    with pytest.raises(InvalidDvcyamlError):
        AsyncLive(root=repo, dvcyaml=dvcyaml)
    # DVCLive 3.48 checks the name of a str only.
    with pytest.raises(InvalidDvcyamlError):
        AsyncLive(root=repo, dvcyaml=Path(dvcyaml))


async def test_root_is_the_working_directory_at_construction(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files({"sub/model.bin": "a\n"})(repo)
    monkeypatch.chdir(repo / "sub")
    live = AsyncLive()
    monkeypatch.chdir(tmp_path)
    async with live:
        logged = await live.log_artifact("model.bin", type="model", copy=True)
    assert logged.path == repo / "sub/dvclive/artifacts/model.bin"
    assert (repo / "sub/dvc.yaml").is_file()
    assert not (tmp_path / "dvclive").exists()


async def test_an_object_lost_while_logging_is_stored_again(
    repo: Path, reference: Reference
) -> None:
    # DVCLive asks for a confirmation that no user can give here, and gives up.
    files({"model.bin": "a\n"})(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.bin")
        cache_object(repo, A_MD5).unlink()
        await live.log_artifact("model.bin")
    assert cache_object(repo, A_MD5).read_bytes() == b"a\n"
    assert reference.facts(repo).status == {}


async def test_a_repository_without_a_commit_is_annotated(repo: Path, reference: Reference) -> None:
    # DVCLive asks for the current revision and fails.
    git(repo, "update-ref", "-d", "HEAD")
    files({"model.bin": "a\n"})(repo)
    await log(repo, "model.bin", type="model", copy=True)
    assert (repo / "dvclive/artifacts/model.bin.dvc").is_file()
    assert (repo / "dvc.yaml").is_file()
    assert reference.facts(repo).status == {}


async def test_the_file_behind_a_symlink_stays_out_of_a_hardlinked_cache(
    repo: Path, reference: Reference
) -> None:
    # DVC hard-links the target of the symlink into its cache, and makes it read-only.
    both(
        files({"model.bin": "a\n", "../outside/x": "x"}),
        files(NESTED),
        links({"latest.bin": "model.bin", "data/in": "a.txt", "data/out": "../../outside/x"}),
        cache_type("hardlink"),
    )(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("latest.bin")
        await live.log_artifact("data")
    for behind in (repo / "model.bin", repo.parent / "outside/x"):
        assert (behind.stat().st_mode & 0o777, behind.stat().st_nlink) == (0o644, 1)
    # All files of the artifact itself are linked, as in DVC.
    same = cache_object(repo, A_MD5).stat().st_ino
    for name in ("latest.bin", "data/in", "data/a.txt"):
        assert (repo / name).lstat().st_ino == same, name
    assert (repo / "data/out").lstat().st_nlink == 2
    assert reference.facts(repo).status == {}


@pytest.mark.parametrize("cache", [True, False])
async def test_a_dangling_symlink_in_a_copied_directory_leaves_nothing(
    repo: Path, cache: bool
) -> None:
    # DVCLive removes the older copy, then leaves half a new one.
    files({"data/a": "a", "data/b": "b"})(repo)
    await log(repo, "data", copy=True, cache=cache)
    links({"data/c": "nowhere"})(repo)
    (repo / "data/b").unlink()
    with pytest.raises(ArtifactPathError):
        await log(repo, "data", copy=True, cache=cache)
    assert sorted(os.listdir(repo / "dvclive/artifacts/data")) == ["a", "b"]
