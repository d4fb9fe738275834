"""One place has one name, however it is called: by its real path or through links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import in_both, on_asyncio
from disk import write
from gate import locked
from invariants import assert_nothing_lost, entries
from twin import Templates, dvc

from asynclive import ArtifactConflictError, ArtifactPathError, AsyncLive, RepositoryError

pytestmark = [pytest.mark.anyio, on_asyncio]


@pytest.fixture
def repo(templates: Templates, tmp_path: Path) -> Path:
    """A repository that has three more names: ``link/repo``, ``repo``, and ``sub`` for a part."""
    repo = templates.make("git", tmp_path / "real")
    (tmp_path / "link").symlink_to(repo.parent)
    (tmp_path / "repo").symlink_to(repo)
    write(repo, {"model": "text", "sub/model": "below"})
    (tmp_path / "sub").symlink_to(repo / "sub")
    return repo


def entry_paths(repo: Path, below: str = "") -> list[str]:
    return [entry["path"] for entry in entries(repo / below).values()]


@in_both
@pytest.mark.parametrize(
    ("root", "path", "tracked"),
    [
        ("real/repo", "{}/link/repo/model", "model"),
        ("real/repo", "{}/repo/model", "model"),
        ("real/repo", "{}/sub/model", "sub/model"),
        ("repo", "{}/link/repo/model", "model"),
        ("repo", "{}/real/repo/model", "model"),
        ("repo/sub", "{}/repo/model", "model"),
        ("repo/sub", "../model", "model"),
        ("sub", "../model", "model"),  # as in this working directory
        ("sub", "model", "sub/model"),
    ],
)
async def test_a_path_may_have_another_name_than_the_root(
    repo: Path, tmp_path: Path, isolation: Any, root: str, path: str, tracked: str
) -> None:
    given = path.replace("{}", str(tmp_path))
    dvcyaml = repo / "dvc.yaml"
    async with AsyncLive(root=tmp_path / root, dvcyaml=dvcyaml, isolation=isolation) as live:
        logged = await live.log_artifact(given, desc="text")
    assert logged.path == repo / tracked
    assert entry_paths(repo) == [tracked]
    assert (repo / f"{tracked}.dvc").is_file()
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"


@in_both
@pytest.mark.parametrize("root", ["real/repo", "repo"])
async def test_dir_and_dvcyaml_may_have_another_name_than_the_root(
    repo: Path, tmp_path: Path, isolation: Any, root: str
) -> None:
    async with AsyncLive(
        root=tmp_path / root,
        dir=tmp_path / "link" / "repo" / "run",
        dvcyaml=tmp_path / "sub" / "dvc.yaml",
        isolation=isolation,
    ) as live:
        await live.log_artifact("model", desc="text")
        logged = await live.log_artifact("sub/model", name="copy", copy=True)
        with pytest.raises(ArtifactPathError, match="one contains the other"):
            await live.log_artifact(tmp_path / "repo" / "run" / "artifacts" / "model", copy=True)
    assert logged.path == repo / "run" / "artifacts" / "model"
    assert entry_paths(repo, "sub") == ["../model", "../run/artifacts/model"]
    assert_nothing_lost(repo)


async def test_dir_and_dvcyaml_lead_up_from_the_directory_behind_a_linked_root(
    repo: Path, tmp_path: Path
) -> None:
    async with AsyncLive(root=tmp_path / "sub", dir="../run", dvcyaml="../dvc.yaml") as live:
        logged = await live.log_artifact("model", copy=True, desc="text")
    assert logged.path == repo / "run" / "artifacts" / "model"
    assert entry_paths(repo) == ["run/artifacts/model"]


async def test_a_path_that_leads_elsewhere_is_refused(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model").touch()
    (tmp_path / "away").symlink_to("elsewhere")
    async with AsyncLive(root=repo, isolation="thread") as live:
        for path in ("away/model", "elsewhere/model"):
            with pytest.raises(ArtifactPathError, match="is outside of the DVC repository"):
                await live.log_artifact(tmp_path / path)
            with pytest.raises(ArtifactPathError, match="is outside of the DVC repository"):
                await live.submit(tmp_path / path)
        await live.log_artifact("model")  # their claims and slots are free


@in_both
@pytest.mark.parametrize(("first", "second"), [("model", "repo/model"), ("repo/model", "model")])
async def test_two_awaited_calls_for_one_place_conflict(
    repo: Path, tmp_path: Path, isolation: Any, first: str, second: str
) -> None:
    refused = []

    async def log(path: Path) -> None:
        try:
            await live.log_artifact(path)
        except ArtifactConflictError as error:
            refused.append(error)
            holder.open()  # the other call is in flight until then

    paths = {"model": repo / "model", "repo/model": tmp_path / "repo" / "model"}
    with locked(repo) as holder:
        async with (
            AsyncLive(root=repo, isolation=isolation) as live,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(log, paths[first])
            tasks.start_soon(log, paths[second])
    assert len(refused) == 1
    assert_nothing_lost(repo)


@in_both
@pytest.mark.parametrize(("first", "second"), [("model", "repo/model"), ("repo/model", "model")])
async def test_submitted_calls_for_one_place_follow_each_other(
    repo: Path, tmp_path: Path, isolation: Any, first: str, second: str
) -> None:
    paths = {"model": repo / "model", "repo/model": tmp_path / "repo" / "model"}
    async with AsyncLive(root=repo, isolation=isolation) as live:
        with locked(repo) as holder:
            handle = await live.submit(paths[first])
            later = await live.submit(paths[second], move=True)
            holder.open()
            assert (await handle).path == (await later).path == repo / "model"
    assert_nothing_lost(repo)


async def test_a_linked_dvc_directory_is_an_error_that_removes_nothing(
    repo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "dvc"
    (repo / ".dvc").rename(target)
    (repo / ".dvc").symlink_to(target)
    for root in (repo, repo / "sub"):
        with pytest.raises(
            RepositoryError, match=r"is a symbolic link .* Move the directory"
        ) as raised:
            async with AsyncLive(root=root):
                pass
        assert "-f" not in str(raised.value)
    assert (target / "config").is_file()
    assert (repo / ".dvc").is_symlink()


@pytest.mark.parametrize("kind", ["dangling link", "file"])
async def test_a_dvc_directory_that_is_none_is_not_initialised(repo: Path, kind: str) -> None:
    (repo / ".dvc").rename(repo / "dvc")
    (repo / ".dvc").touch() if kind == "file" else (repo / ".dvc").symlink_to("missing")
    with pytest.raises(RepositoryError) as raised:
        async with AsyncLive(root=repo):
            pass
    assert "-f" not in str(raised.value)
    assert (repo / ".dvc").is_symlink() == (kind != "file")


async def test_without_git_a_linked_dvc_directory_works(
    templates: Templates, tmp_path: Path
) -> None:
    repo = templates.make("no-scm", tmp_path / "real")
    (repo / ".dvc").rename(tmp_path / "dvc")
    (repo / ".dvc").symlink_to(tmp_path / "dvc")
    write(repo, {"model": "text", "data/a": "a"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model", desc="text")
        await live.log_artifact("data", copy=True, desc="text")
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"
    assert_nothing_lost(repo)
