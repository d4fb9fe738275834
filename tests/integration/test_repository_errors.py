"""Raise on entering where there is no repository, and name the command to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, look, refused, tree, write
from twin import Templates, dvc

from asynclive import AsyncLive, NotActiveError, RepositoryError, RepositoryNotFoundError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("warns, and skips every artifact"),
]


async def enter(live: AsyncLive) -> None:
    async with live:
        pytest.fail("entered")


async def test_without_a_repository_entering_is_an_error_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"project/model.pt": "weights"})
    live = AsyncLive(root=tmp_path / "project")
    with refused(tmp_path, RepositoryNotFoundError, match=f"'{tmp_path}/project'") as caught:
        await enter(live)
    for way_out in ("git init", "dvc init", "dvc init --no-scm", "root="):
        assert way_out in str(caught.value)
    assert caught.value.root == str(tmp_path / "project")
    assert isinstance(caught.value, RepositoryError)
    with refused(tmp_path, NotActiveError):
        await live.log_artifact("model.pt", copy=True, type="model")


async def test_the_default_root_is_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(tmp_path, RepositoryNotFoundError):
        await enter(AsyncLive())


async def test_the_command_that_the_error_names_helps(tmp_path: Path) -> None:
    write(tmp_path, {"model.pt": "weights"})
    with refused(tmp_path, RepositoryNotFoundError):
        await enter(AsyncLive(root=tmp_path))
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    async with AsyncLive(root=tmp_path) as live:  # asynclive initialises DVC, as DVCLive does
        await live.log_artifact("model.pt")
    after = tree(tmp_path)
    assert after["model.pt.dvc"] == dvc_file("weights", "model.pt")
    assert (tmp_path / ".dvc/config").is_file()


async def test_a_repository_above_is_found(repo: Path) -> None:
    write(repo, {"a/b/model.pt": "weights"})
    async with AsyncLive(root=repo / "a/b") as live:
        logged = await live.log_artifact("model.pt", type="model", copy=True)
    assert logged.path == repo / "a/b/dvclive/artifacts/model.pt"
    assert tree(repo)["a/b/dvc.yaml"].startswith("artifacts:\n  model:\n")


@pytest.mark.parametrize("kind", ["git", "bare-git", "no-scm"])
@pytest.mark.parametrize("root", ["missing", "a-file"])
async def test_a_root_that_is_no_directory_is_an_error(
    templates: Templates, tmp_path: Path, kind: str, root: str
) -> None:
    repo = templates.make(kind, tmp_path / "base")
    write(repo, {"a-file": "a"})
    before = look(repo, objects=True)
    with pytest.raises(RepositoryError, match="directory") as caught:
        await enter(AsyncLive(root=repo / root))
    assert f"'{repo / root}'" in str(caught.value)
    assert "force" not in str(caught.value)  # as in DVC's advice to make a new repository
    assert look(repo, objects=True) == before


async def test_a_broken_dvc_configuration_is_our_error(repo: Path) -> None:
    write(repo, {".dvc/config": "no section\n"})
    with refused(repo, RepositoryError, match="config file error") as caught:
        await enter(AsyncLive(root=repo))
    assert caught.value.__cause__ is not None


async def test_a_gitignore_that_cannot_be_read_is_our_error(repo: Path) -> None:
    (repo / ".gitignore").mkdir()
    with pytest.raises(RepositoryError, match=r"\.gitignore, or .* cannot be read: .*directory"):
        await enter(AsyncLive(root=repo))


async def test_with_autostage_a_read_only_git_directory_is_our_error(
    repo: Path, unprivileged: None
) -> None:
    dvc(repo, "config", "core.autostage", "true")
    (repo / ".git").chmod(0o555)
    try:
        with pytest.raises(RepositoryError, match="cannot be written to") as caught:
            await enter(AsyncLive(root=repo))
    finally:
        (repo / ".git").chmod(0o755)
    assert f"'{repo / '.git'}'" in str(caught.value)


async def test_a_broken_git_configuration_is_our_error(repo: Path) -> None:
    with (repo / ".git" / "config").open("a") as file:
        file.write("[broken\n")
    with pytest.raises(RepositoryError, match="Git's configuration cannot be read") as caught:
        await enter(AsyncLive(root=repo))
    assert f"git status' in '{repo}'" in str(caught.value)


async def test_a_broken_git_repository_is_our_error_and_nothing_is_made(
    repo: Path,
) -> None:
    (repo / ".git/HEAD").unlink()
    shutil.rmtree(repo / ".dvc")
    with refused(repo, RepositoryError):
        await enter(AsyncLive(root=repo))


async def test_a_bare_git_repository_is_our_error_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", "bare.git"], cwd=tmp_path, check=True)
    with refused(tmp_path, RepositoryError):
        await enter(AsyncLive(root=tmp_path / "bare.git"))


async def test_without_a_working_link_type_files_stay_and_a_warning_is_logged(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == repo.stat().st_dev:
        pytest.skip("needs a second file system")
    cache = elsewhere / f"asynclive-test-{os.getpid()}"
    write(
        repo,
        {".dvc/config": f"[cache]\n    dir = {cache}\n    type = hardlink\n", "m.pt": "weights"},
    )
    try:
        (repo / "m.pt").chmod(0o640)
        before = (repo / "m.pt").stat()
        async with AsyncLive(root=repo) as live:
            logged = await live.log_artifact("m.pt")
            copied = await live.log_artifact("m.pt", copy=True)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "dvc config cache.type" in caplog.text
        after = (repo / "m.pt").stat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert copied.path.read_text() == "weights"
        assert logged.dvc_file is not None
        assert logged.dvc_file.is_file()
        assert [path for path in cache.rglob("*") if "asynclive" in path.name] == []
    finally:
        shutil.rmtree(cache, ignore_errors=True)
