"""Share a repository: two AsyncLive objects of one process, and ``dvc`` commands."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import anyio
import pytest
from disk import dvc_file, md5, objects, refused, tree, write
from gate import locked
from ruamel.yaml import YAML
from twin import dvc, git

from asynclive import ArtifactPathError, AsyncLive, LockTimeoutError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]


def everything(names: dict[str, str]) -> dict[str, str]:
    """Return the .dvc files of these files, in the root of the repository."""
    return {f"{name}.dvc": dvc_file(text, name) for name, text in names.items()}


async def test_two_objects_on_one_repository_log_together(repo: Path) -> None:
    files = {f"{side}-{number}.pt": f"{side}{number}" for side in "ab" for number in range(20)}
    write(repo, files | {"dvc.yaml": "# mine\n"})
    before = tree(repo)
    async with (
        AsyncLive(root=repo) as one,
        AsyncLive(root=repo, workers=1) as other,
        anyio.create_task_group() as task_group,
    ):
        for name in files:
            live = one if name.startswith("a") else other
            task_group.start_soon(live.log_artifact, name, "m")
    after = tree(repo)
    assert sorted(after.pop(".gitignore").splitlines()) == sorted(f"/{name}" for name in files)
    text = after.pop("dvc.yaml")
    assert text.startswith("# mine\nartifacts:\n")
    assert YAML(typ="safe").load(text)["artifacts"] == {
        name.removesuffix(".pt"): {"path": name, "type": "m"} for name in files
    }
    assert after == {k: v for k, v in before.items() if k != "dvc.yaml"} | everything(files)
    assert objects(repo) == {md5(text): text.encode() for text in files.values()}


async def test_leaving_one_object_does_not_disturb_the_other(repo: Path) -> None:
    write(repo, {"one.pt": "one", "other.pt": "other"})
    async with AsyncLive(root=repo) as one:
        async with AsyncLive(root=repo) as other:
            await other.log_artifact("other.pt")
        await one.log_artifact("one.pt")
        # This object notices the artifact that the other has tracked.
        write(repo, {"dir/a": "a", "dir/b": "b"})
        async with AsyncLive(root=repo) as other:
            await other.log_artifact("dir/a")
        with refused(repo, ArtifactPathError, match="dir/a', which DVC tracks", objects=False):
            await one.log_artifact("dir")
    assert {"one.pt.dvc", "other.pt.dvc", "dir/a.dvc"} <= tree(repo).keys()


async def test_two_objects_use_different_directories_and_dvc_yamls(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with (
        AsyncLive("one", root=repo, dvcyaml="one/dvc.yaml") as one,
        AsyncLive("two", root=repo, dvcyaml="two/dvc.yaml") as two,
        anyio.create_task_group() as task_group,
    ):
        for live in (one, two):
            task_group.start_soon(live.log_artifact, "model.pt", "m", "x", None, None, None, True)
    added = {}
    for side in ("one", "two"):
        added |= {
            f"{side}/artifacts/model.pt": "weights",
            f"{side}/artifacts/model.pt.dvc": dvc_file("weights", "model.pt"),
            f"{side}/artifacts/.gitignore": "/model.pt\n",
            f"{side}/dvc.yaml": "artifacts:\n  x:\n    path: artifacts/model.pt\n    type: m\n",
        }
    assert tree(repo) == before | added


async def test_two_objects_wait_for_the_lock_of_a_third_process(repo: Path) -> None:
    write(repo, {"one.pt": "one", "other.pt": "other"})
    before = tree(repo)
    async with AsyncLive(root=repo) as one, AsyncLive(root=repo, lock_timeout=0) as other:
        with locked(repo) as gate:
            async with anyio.create_task_group() as task_group:
                begun = anyio.Event()

                async def log() -> None:
                    begun.set()
                    await one.log_artifact("one.pt")

                task_group.start_soon(log)
                await begun.wait()
                with pytest.raises(LockTimeoutError):
                    await other.log_artifact("other.pt")
                assert tree(repo) == before
                gate.open()
        await other.log_artifact("other.pt")
    assert {"one.pt.dvc", "other.pt.dvc"} <= tree(repo).keys()


async def run_dvc(repo: Path, *args: str) -> None:
    done = await anyio.run_process([sys.executable, "-m", "dvc", *args], cwd=repo, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def test_a_dvc_command_and_a_gather_run_at_the_same_time(repo: Path) -> None:
    ours = {f"{number}.pt": f"{number}" for number in range(60)}
    theirs = {"theirs.csv": "theirs"}
    write(repo, ours | theirs)
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        task_group.start_soon(run_dvc, repo, "add", *theirs)
        for name in ours:
            task_group.start_soon(live.log_artifact, name, "m")
    after = tree(repo)
    assert after.items() >= everything(ours | theirs).items()
    assert sorted(after[".gitignore"].splitlines()) == sorted(f"/{n}" for n in ours | theirs)
    assert YAML(typ="safe").load(after["dvc.yaml"])["artifacts"] == {
        name.removesuffix(".pt"): {"path": name, "type": "m"} for name in ours
    }
    assert "up to date" in dvc(repo, "status")


async def test_a_call_sees_the_changes_that_others_made_before_it(repo: Path) -> None:
    write(repo, {"data/a": "a", "data/b": "b", "model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("data/a")
        with refused(repo, ArtifactPathError, match="which DVC tracks", objects=False):
            await live.log_artifact("data")
        await run_dvc(repo, "remove", "--quiet", "data/a.dvc")
        assert (await live.log_artifact("data")).dvc_file == repo / "data.dvc"
        # A file that Git has started to track or to ignore.
        git(repo, "add", "model.pt")
        with refused(repo, ArtifactPathError, match="tracked by Git", objects=False):
            await live.log_artifact("model.pt")
        git(repo, "rm", "--cached", "--quiet", "model.pt")
        write(repo, {"out/model.pt": "weights", ".gitignore": "/data\n/out\n"})
        with refused(repo, ArtifactPathError, match="Git ignores", objects=False):
            await live.log_artifact("out/model.pt")
        write(repo, {".gitignore": "/data\n"})
        await live.log_artifact("out/model.pt")
        await live.log_artifact("model.pt")
        # A directory that was removed with its tracked files.
        shutil.rmtree(repo / "out")
        write(repo, {"out/model.pt": "new"})
        await live.log_artifact("out")
    after = tree(repo)
    assert {name for name in after if name.endswith(".dvc")} == {
        "data.dvc",
        "model.pt.dvc",
        "out.dvc",
    }
    assert after[".gitignore"] == "/data\n/model.pt\n/out\n"
    assert "up to date" in dvc(repo, "status")
