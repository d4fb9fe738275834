"""Complete a copy before it replaces the old one, below ``artifacts/`` and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, md5, objects, refused, tree, write
from twin import git

from asynclive import (
    ArtifactConflictError,
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    AsyncLiveError,
    DvcYamlError,
    StorageError,
)

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive(
        "deletes the old copy before the new one is there, deletes a source in ``artifacts/``, "
        "and lets two sources with one basename overwrite each other"
    ),
]


def special_file(repo: Path) -> None:
    os.mkfifo(repo / "model/pipe")


def dangling_link(repo: Path) -> None:
    os.symlink("nowhere", repo / "model/link")


def removed_source(repo: Path) -> None:
    for path in sorted(repo.glob("model/**/*"), reverse=True):
        path.unlink()
    (repo / "model").rmdir()


def broken_dvc_yaml(repo: Path) -> None:
    (repo / "dvc.yaml").write_text("artifacts: [\n")


def copy_in_git(repo: Path) -> None:
    git(repo, "add", "--force", "dvclive/artifacts/model/old")


FAILURES: list[tuple[Callable[[Path], None], type[AsyncLiveError]]] = [
    (special_file, ArtifactPathError),
    (dangling_link, ArtifactPathError),
    (removed_source, ArtifactNotFoundError),
    (broken_dvc_yaml, DvcYamlError),
    (copy_in_git, ArtifactPathError),
]


@pytest.mark.parametrize(("spoil", "error"), FAILURES, ids=lambda value: value.__name__)
async def test_the_old_copy_stays_when_the_new_one_fails(
    repo: Path, spoil: Callable[[Path], None], error: type[AsyncLiveError]
) -> None:
    write(repo, {"model/old": "old"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model", type="model", copy=True)
        os.rename(repo / "model/old", repo / "model/new")
        spoil(repo)
        with refused(repo, error, objects=False):
            await live.log_artifact("model", type="model", copy=True)
    assert tree(repo)["dvclive/artifacts/model/old"] == "old"


@pytest.mark.parametrize("cache", [True, False])
async def test_a_file_in_the_place_of_the_artifacts_directory_is_refused_and_stays(
    repo: Path, cache: bool
) -> None:
    write(repo, {"model.pt": "weights", "dvclive/artifacts": "a file"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, StorageError, match="dvclive/artifacts", objects=False):
            await live.log_artifact("model.pt", type="model", copy=True, cache=cache)


async def test_a_dvc_file_that_cannot_be_written_leaves_neither_copy_nor_ignore_line(
    repo: Path,
) -> None:
    write(repo, {"model.pt": "weights", "dvclive/artifacts/model.pt": "old"})
    # The last line of its .gitignore has no newline.
    write(repo, {"dvclive/artifacts/.gitignore": "/mine"})
    (repo / "dvclive/artifacts/model.pt.dvc/inner").mkdir(parents=True)
    async with AsyncLive(root=repo) as live:
        before = tree(repo)
        with pytest.raises(AsyncLiveError):
            await live.log_artifact("model.pt", type="model", copy=True)
        assert tree(repo) == before


async def test_a_copy_replaces_the_whole_old_copy(repo: Path) -> None:
    write(repo, {"model/new": "new", "dvclive/artifacts/model/stale": "stale"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model", copy=True)
        assert "dvclive/artifacts/model/stale" not in tree(repo)
        assert tree(repo)["dvclive/artifacts/model/new"] == "new"


IN_PLACE = {
    "dvclive/artifacts/model.pt": "weights",
    "dvclive/artifacts/data/a": "a",
    "dvclive/other": "other",
}


OVERLAPPING: list[tuple[str, Any]] = [
    ("dvclive/artifacts/model.pt", True),
    ("dvclive/artifacts/data", True),
    ("dvclive/artifacts/data/", "."),
    ("dvclive/artifacts", True),
    ("dvclive", True),
    ("dvclive/artifacts/data", "data"),
    ("dvclive/artifacts/data", "data/deeper"),
    (".", True),
    ("dvclive/..", True),
]


@pytest.mark.parametrize("cache", [True, False])
async def test_a_source_that_is_or_holds_or_lies_in_its_destination_is_refused(
    repo: Path, cache: bool
) -> None:
    write(repo, IN_PLACE)
    async with AsyncLive(root=repo) as live:
        for source, copy in OVERLAPPING:
            with refused(repo, ArtifactPathError, match="one contains the other") as caught:
                await live.log_artifact(source, type="model", name="m", copy=copy, cache=cache)
            assert "without copy" in str(caught.value)


async def test_the_same_source_can_be_logged_in_place(repo: Path) -> None:
    write(repo, IN_PLACE)
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("dvclive/artifacts/model.pt")
    assert tree(repo) == before | {
        "dvclive/artifacts/model.pt.dvc": dvc_file("weights", "model.pt"),
        "dvclive/artifacts/.gitignore": "/model.pt\n",
    }


async def test_a_parent_of_the_working_directory_is_refused(repo: Path) -> None:
    write(repo, {"project/sub/keep": "keep", "project/dvclive/artifacts/old": "old"})
    async with AsyncLive(root=repo / "project") as live:
        for source in ("..", "../", "sub/../..", "."):
            with refused(repo, ArtifactPathError, match="one contains the other"):
                await live.log_artifact(source, copy=True)


async def test_the_root_directory_is_refused(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="root directory"):
            await live.log_artifact("/", copy=True)


async def test_links_do_not_hide_that_a_source_is_its_destination(repo: Path) -> None:
    write(repo, {"dvclive/artifacts/model.pt": "weights", "shared/data/a": "a"})
    os.symlink("dvclive/artifacts/model.pt", repo / "model.pt")
    (repo / "out").mkdir()
    os.symlink("../shared", repo / "out/artifacts")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="one contains the other"):
            await live.log_artifact("model.pt", type="model", copy=True)
    async with AsyncLive("out", root=repo) as live:
        with refused(repo, ArtifactPathError, match="one contains the other"):
            await live.log_artifact("shared/data", type="data", copy=True)


async def test_a_link_in_the_place_of_the_copy_is_replaced_and_not_followed(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvclive/artifacts/other": "other"})
    os.symlink("other", repo / "dvclive/artifacts/model.pt")
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", copy=True)
    after = tree(repo)
    assert after["dvclive/artifacts/model.pt"] == "weights"
    assert after["dvclive/artifacts/other"] == "other"


# --- Destinations ---------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("copy", ["sub/dir", Path("sub/dir"), "sub//dir/.", "./sub/dir/"])
async def test_copy_names_a_directory_below_artifacts(repo: Path, copy: Any, cache: bool) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", type="model", copy=copy, cache=cache)
        assert logged.path == repo / "dvclive/artifacts/sub/dir/model.pt"
    path = "dvclive/artifacts/sub/dir"
    tracked = {
        f"{path}/model.pt.dvc": dvc_file("weights", "model.pt"),
        f"{path}/.gitignore": "/model.pt\n",
    }
    assert tree(repo) == before | (tracked if cache else {}) | {
        f"{path}/model.pt": "weights",
        "dvc.yaml": f"artifacts:\n  model:\n    path: {path}/model.pt\n    type: model\n",
    }
    assert objects(repo) == ({md5("weights"): b"weights"} if cache else {})


async def test_a_destination_outside_of_artifacts_is_refused_before_any_io(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    values: list[Any] = ["..", "../x", "a/../../x", "a/..", "/tmp", "a\0b", b"sub", 7, ["sub"]]
    async with AsyncLive(root=repo) as live:
        for copy in values:
            with refused(repo, ArtifactPathError, match="copy"):
                live.log_artifact("model.pt", type="model", copy=copy).send(None)


@pytest.mark.parametrize("cache", [True, False])
async def test_a_link_below_artifacts_leads_no_copy_out_of_the_repository(
    repo: Path, cache: bool
) -> None:
    write(repo, {"model.pt": "weights", "../elsewhere/keep": "keep"})
    (repo / "dvclive/artifacts").mkdir(parents=True)
    os.symlink(repo.parent / "elsewhere", repo / "dvclive/artifacts/sub")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, objects=False):
            await live.log_artifact("model.pt", type="model", copy="sub", cache=cache)
    assert [path.name for path in (repo.parent / "elsewhere").iterdir()] == ["keep"]


async def test_two_sources_with_one_basename_one_after_the_other_replace_each_other(
    repo: Path,
) -> None:
    write(repo, {"a/model.pt": "one", "b/model.pt": "two"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        first = await live.log_artifact("a/model.pt", type="model", copy=True)
        second = await live.log_artifact("b/model.pt", type="model", copy=True)
        assert (first.path, first.md5) == (second.path, md5("one"))
        assert second.md5 == md5("two")
    assert tree(repo) == before | {
        "dvclive/artifacts/model.pt": "two",
        "dvclive/artifacts/model.pt.dvc": dvc_file("two", "model.pt"),
        "dvclive/artifacts/.gitignore": "/model.pt\n",
        "dvc.yaml": "artifacts:\n  model:\n    path: dvclive/artifacts/model.pt\n    type: model\n",
    }
    assert objects(repo) == {md5("one"): b"one", md5("two"): b"two"}


@pytest.mark.parametrize("cache", [True, False])
async def test_the_destination_of_another_name_in_this_session_is_refused(
    repo: Path, cache: bool
) -> None:
    write(repo, {"a/model.pt": "one", "b/model.pt": "two"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("a/model.pt", name="one", copy=True, type="m", cache=cache)
        with refused(repo, ArtifactConflictError, match="'one'") as caught:
            await live.log_artifact("b/model.pt", name="two", copy=True, type="m", cache=cache)
        assert "copy='sub/dir'" in str(caught.value)
        assert caught.value.path == str(repo / "b/model.pt")
        # The ways out that the message names.
        await live.log_artifact("b/model.pt", name="two", copy="two", type="m", cache=cache)
        await live.log_artifact("b/model.pt", name="one", copy=True, type="m", cache=cache)
    # The next session declares its own order.
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("b/model.pt", name="two", copy=True, type="m", cache=cache)
    copy = "path: dvclive/artifacts/model.pt"
    assert tree(repo)["dvc.yaml"] == (
        f"artifacts:\n  one:\n    {copy}\n    type: m\n  two:\n    {copy}\n    type: m\n"
    )
