"""Where copies go: below ``artifacts/``, and never two names onto one file unasked.

DVCLive lets two sources with one basename overwrite each other silently.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from disk import dvc_file, md5, objects, refused, tree, write

from asynclive import ArtifactConflictError, ArtifactPathError, AsyncLive

pytestmark = [pytest.mark.anyio, on_asyncio, pytest.mark.usefixtures("nothing_left_behind")]


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


async def test_a_copy_that_could_leave_artifacts_is_refused_before_any_io(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    values: list[Any] = ["..", "../x", "a/../../x", "a/..", "/tmp", "a\0b", b"sub", 7, ["sub"]]
    async with AsyncLive(root=repo) as live:
        for copy in values:
            with refused(repo, ArtifactPathError, match="copy"):
                live.log_artifact("model.pt", type="model", copy=copy).send(None)


@pytest.mark.parametrize("cache", [True, False])
async def test_a_link_below_artifacts_does_not_lead_a_copy_out_of_the_repository(
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
async def test_a_destination_another_name_was_logged_to_in_this_session_is_refused(
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
