"""libgit2 refuses a Git repository: say so on entering, if the session needs it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pygit2
import pytest
from backends import on_asyncio
from disk import dvc_file, refused, tree, write
from twin import Templates, dvc

from asynclive import AsyncLive, ExperimentError, RepositoryError
from asynclive._doctor.diagnosis import diagnose

pytestmark = [pytest.mark.anyio, on_asyncio, pytest.mark.usefixtures("nothing_left_behind")]


async def enter(repo: Path, **values: Any) -> None:
    async with AsyncLive(root=repo, **values):
        pytest.fail("entered")


@pytest.fixture
def of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let libgit2 find that another user owns each repository. Only root can change an owner."""

    def refuse(path: str) -> None:
        raise pygit2.GitError(f"{path}: repository path '{path}' is not owned by current user")

    monkeypatch.setattr(pygit2, "Repository", refuse)


@pytest.fixture
def with_sha256(tmp_path: Path) -> Path:
    repo = tmp_path / "sha256"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(repo)], check=True)
    dvc(repo, "init", "--quiet", "--no-scm")
    dvc(repo, "config", "core.no_scm", "false")
    return repo


async def test_with_autostage_the_error_has_gits_advice(repo: Path, of_another_user: None) -> None:
    dvc(repo, "config", "core.autostage", "true")
    with refused(repo, RepositoryError, match="belongs to another user") as caught:
        await enter(repo)
    assert f"git config --global --add safe.directory {repo}'" in str(caught.value)
    assert "core.autostage false" in str(caught.value)
    assert (
        str(caught.value).partition(": ")[2].split(" To do")[0] in diagnose(str(repo)).problems[0]
    )


@pytest.mark.parametrize("variable", ["GIT_CONFIG_GLOBAL", None])
async def test_with_an_experiment_the_error_has_gits_advice(
    repo: Path, of_another_user: None, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.delenv("GIT_CONFIG_GLOBAL")
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
    if variable is not None:
        monkeypatch.setenv(variable, "/dev/null")
    with pytest.raises(ExperimentError, match="belongs to another user") as caught:
        await enter(repo, save_dvc_exp=True)
    assert f"git config --global --add safe.directory {repo}'" in str(caught.value)
    # libgit2 does not read the file of this variable, and so would not see what the advice adds.
    assert ("GIT_CONFIG_GLOBAL" in str(caught.value)) == (variable is not None)


async def test_without_both_artifacts_are_logged(repo: Path, of_another_user: None) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
    assert tree(repo)["model.pt.dvc"] == dvc_file("weights", "model.pt")
    found = diagnose(str(repo))
    assert found.problems == []
    assert "experiment can be saved" in " ".join(found.notes)


async def test_dvc_is_not_initialised(
    templates: Templates, tmp_path: Path, of_another_user: None
) -> None:
    repo = templates.make("bare-git", tmp_path / "base")
    with refused(repo, RepositoryError, match="safe.directory"):
        await enter(repo)
    assert "safe.directory" in diagnose(str(repo)).problems[0]


async def test_a_repository_with_sha256_hashes_works_without_libgit2(with_sha256: Path) -> None:
    repo = with_sha256
    write(repo, {"model.pt": "weights", "tracked.pt": "t"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
    with pytest.raises(ExperimentError, match="object format 'sha256'"):
        await enter(repo, save_dvc_exp=True)
    dvc(repo, "config", "core.autostage", "true")
    with refused(repo, RepositoryError, match="object format 'sha256'"):
        await enter(repo)


@pytest.mark.parametrize("name", ["preciousObjects", "refStorage"])
async def test_an_extension_of_git_that_dvc_does_not_know_is_named(repo: Path, name: str) -> None:
    for line in ("core.repositoryFormatVersion 1", f"extensions.{name} new"):
        subprocess.run(["git", "config", *line.split()], cwd=repo, check=True)
    with pytest.raises(RepositoryError, match=f"(?i)extensions.{name}") as caught:
        await enter(repo)
    assert f"git config --unset extensions.{name}'".lower() in str(caught.value).lower()
    assert str(caught.value).partition(": ")[2] in diagnose(str(repo)).problems[0]
