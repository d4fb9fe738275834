"""Run DVC's own commands on logged artifacts."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest
from backends import on_asyncio
from disk import md5, objects, tree, write
from twin import dvc, git

from asynclive import AsyncLive

pytestmark = [pytest.mark.anyio, on_asyncio, pytest.mark.usefixtures("nothing_left_behind")]


async def test_commands_of_dvc_work_on_logged_artifacts(repo: Path) -> None:
    remote = repo.parent / "remote"
    write(repo, {"data/a": "a", "data/sub/b": "b", "model.pt": "one", "raw.csv": "raw"})
    write(
        repo,
        {".dvc/config": f"[core]\n    remote = here\n['remote \"here\"']\n    url = {remote}\n"},
    )
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        for args in (
            ("data", "dataset", "my-data"),
            ("model.pt", "model", "my-model", "Tuned", ["a"], {"lr": 0.1}, True),
            ("raw.csv",),
        ):
            task_group.start_soon(live.log_artifact, *args)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=First")
    # A version of the model registry is a tag.
    git(repo, "tag", "--annotate", "--message=First", "my-model@v1.0.0")
    assert "up to date" in dvc(repo, "status")
    logged = tree(repo)

    dvc(repo, "push", "--quiet")
    pushed = {path.parent.name + path.name for path in remote.glob("files/md5/??/*")}
    assert pushed == objects(repo).keys()
    assert {md5(text) for text in ("a", "b", "one", "raw")} < pushed

    # No object of it is garbage.
    before = objects(repo)
    dvc(repo, "gc", "--workspace", "--force", "--quiet")
    assert objects(repo) == before

    shutil.rmtree(repo / "data")
    (repo / "dvclive/artifacts/model.pt").unlink()
    write(repo, {"raw.csv": "overwritten"})
    dvc(repo, "checkout", "--force", "--quiet")
    assert tree(repo) == logged

    # After the cache was removed, from the remote.
    shutil.rmtree(repo / ".dvc/cache")
    shutil.rmtree(repo / "data")
    dvc(repo, "pull", "--quiet")
    assert tree(repo) == logged

    write(repo, {"model.pt": "two!"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", "model", "my-model", copy=True)
    difference = dvc(repo, "diff").split()
    assert "dvclive/artifacts/model.pt" in difference
    assert not {"data/", "data/a", "raw.csv"} & set(difference)

    # By name and version from the registry; the bytes come from the remote.
    there = repo.parent / "elsewhere"
    there.mkdir()
    dvc(there, "artifacts", "get", str(repo), "my-model", "--quiet")
    assert tree(there) == {"model.pt": "one"}


async def test_dvc_gc_removes_unreferenced_objects_only(repo: Path) -> None:
    write(repo, {"model.pt": "one"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
        write(repo, {"model.pt": "two"})
        await live.log_artifact("model.pt")
        assert objects(repo).keys() == {md5("one"), md5("two")}
        dvc(repo, "gc", "--workspace", "--force", "--quiet")
        assert objects(repo).keys() == {md5("two")}
        # The session notices that the object is missing, and stores it again.
        write(repo, {"model.pt": "one"})
        await live.log_artifact("model.pt")
    assert objects(repo).keys() == {md5("one"), md5("two")}
    assert "up to date" in dvc(repo, "status")


@pytest.mark.parametrize("copy", [False, True])
async def test_dvc_status_is_clean_after_a_directory_that_is_a_repository_itself(
    repo: Path, copy: bool
) -> None:
    """DVC tracks no file of such a directory, wherever it lies."""
    write(repo, {"project/.dvc/config": "", "project/a": "a", "data/inner/.dvc/config": ""})
    write(repo, {"data/inner/a": "a", "data/b": "b"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("project", copy=copy)
        await live.log_artifact("data", copy=copy)
    assert "up to date" in dvc(repo, "status")
