"""Refuse a path that DVC would not track, and name a way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, look, refused, tree, write
from ruamel.yaml import YAML
from twin import dvc, git

from asynclive import ArtifactPathError, AsyncLive, AsyncLiveError, CommitError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("warns, and registers the path in dvc.yaml all the same"),
]

STAGE = "stages:\n  train:\n    cmd: python train.py\n    outs:\n    - {}\n"


@dataclass(frozen=True)
class Refusal:
    """A path in a repository that is refused in place."""

    path: str
    says: str
    setup: Callable[[Path], object]
    copied: bool | None = True
    """``copy=True`` is a way out that the message names; None: the message need not name it."""
    hint: str = ""
    """Another way out that the message names."""


def files(**texts: str) -> Callable[[Path], object]:
    return lambda repo: write(repo, texts)


def in_git(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    git(repo, "add", "model.pt")


def directory_in_git(repo: Path) -> None:
    write(repo, {"data/a": "a", "data/b": "b"})
    git(repo, "add", "data/a")


def ignored_by_git(repo: Path) -> None:
    write(repo, {"out/model.pt": "weights", ".gitignore": "# mine\nout/\n"})


def linked_gitignore(repo: Path) -> None:
    write(repo, {"out/model.pt": "weights", "../rules": "*.log\n"})
    os.symlink("../../rules", repo / "out/.gitignore")


def ignored_by_dvc(repo: Path) -> None:
    write(repo, {"big/model.pt": "weights", ".dvcignore": "/big\n"})


def around_an_output(repo: Path) -> None:
    write(repo, {"data/a": "a", "data/b": "b"})
    dvc(repo, "add", "--quiet", "data/a")


def output_of_a_stage(repo: Path) -> None:
    write(repo, {"data/a": "a", "dvc.yaml": STAGE.format("data")})


def around_an_output_of_a_stage(repo: Path) -> None:
    write(repo, {"data/a": "a", "dvc.yaml": STAGE.format("data/a")})


def around_a_pipeline(repo: Path) -> None:
    write(repo, {"data/a": "a", "data/dvc.yaml": STAGE.format("../out")})


def dvcignore_inside(repo: Path) -> None:
    write(repo, {"data/a": "a", "data/sub/.dvcignore": "*.tmp\n"})


def linked_directory(repo: Path) -> None:
    write(repo, {"real/a": "a"})
    os.symlink("real", repo / "data")


def outside(repo: Path) -> None:
    write(repo, {"../outside.pt": "weights"})


def no_dvcignore(repo: Path) -> None:
    (repo / ".dvcignore").unlink()


REFUSALS = {
    "outside the repository": Refusal("../outside.pt", "outside of the DVC repository", outside),
    "tracked by Git": Refusal(
        "model.pt", "already tracked by Git", in_git, hint="git rm -r --cached"
    ),
    "a directory with files that Git tracks": Refusal(
        "data", "already tracked by Git", directory_in_git, hint="git rm -r --cached"
    ),
    "in a directory that Git ignores": Refusal(
        "out/model.pt", "Git ignores", ignored_by_git, hint="git check-ignore -v"
    ),
    "with a .gitignore that leads out": Refusal(
        "out/model.pt", "cannot be hidden from Git", linked_gitignore, False, "Replace it"
    ),
    "ignored by .dvcignore": Refusal("big", "ignored by .dvcignore:1:/big", ignored_by_dvc),
    "in a directory ignored by .dvcignore": Refusal(
        "big/model.pt", "ignored by .dvcignore", ignored_by_dvc
    ),
    "around another output": Refusal(
        "data", "data/a', which DVC tracks", around_an_output, None, hint="dvc remove"
    ),
    "an output of a stage": Refusal("data", "output of stage", output_of_a_stage, hint="pipeline"),
    "in an output of a stage": Refusal("data/a", "output of stage", output_of_a_stage),
    "around an output of a stage": Refusal(
        "data", "data/a', which DVC tracks", around_an_output_of_a_stage, None
    ),
    "around a dvc.yaml": Refusal("data", "data/dvc.yaml'", around_a_pipeline, None, "Move it"),
    "with a .dvcignore in it": Refusal(
        "data", "data/sub/.dvcignore'", dvcignore_inside, False, hint="Move its rules"
    ),
    "a link to a directory": Refusal("data", "link", linked_directory),
    "reached through a link": Refusal("data/a", "link", linked_directory),
    "the repository": Refusal(".", "repository itself", no_dvcignore, False),
    "DVC's directory": Refusal(".dvc", "DVC file itself", files(a="a"), False),
    "a .dvc file": Refusal("x.dvc", "DVC file itself", files(**{"x.dvc": "outs: []\n"}), False),
    "a dvc.yaml": Refusal(
        "sub/dvc.yaml", "DVC file itself", files(**{"sub/dvc.yaml": "{}\n"}), False
    ),
    "in Git's directory": Refusal(".git/HEAD", "ignored", files(a="a")),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_path_that_dvc_would_not_track_is_refused_and_leaves_nothing(
    repo: Path, case: str
) -> None:
    refusal = REFUSALS[case]
    refusal.setup(repo)
    if not (repo / "dvc.yaml").exists():
        write(repo, {"dvc.yaml": "# mine\nartifacts:\n  name: {path: old}\n"})
    async with AsyncLive(root=repo) as live:
        for values in ({}, {"type": "model"}, {"name": "name", "labels": ["a"]}):
            with refused(repo, ArtifactPathError, match=refusal.says, objects=False) as caught:
                await live.log_artifact(refusal.path, **values)
            assert caught.value.path == str((repo.joinpath(refusal.path)).absolute()).replace(
                "repo/../", ""
            )
            # DVC 3.60 breaks the message into two lines.
            assert refusal.hint in " ".join(str(caught.value).split())
            assert refusal.copied in (None, "copy=True" in str(caught.value))
        # The session still works.
        write(repo, {"fine.pt": "fine"})
        await live.log_artifact("fine.pt")
    assert (repo / "fine.pt.dvc").read_text() == dvc_file("fine", "fine.pt")


@pytest.mark.parametrize("case", [case for case in REFUSALS if REFUSALS[case].copied])
async def test_the_way_out_that_the_error_names_works(repo: Path, case: str) -> None:
    refusal = REFUSALS[case]
    refusal.setup(repo)
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(refusal.path, copy=True, type="model")
    copy = repo / "dvclive/artifacts" / Path(refusal.path).name
    assert (logged.path, logged.dvc_file) == (copy, copy.with_name(copy.name + ".dvc"))
    added = {name for name, text in tree(repo).items() if before.get(name) != text}
    assert all(name == "dvc.yaml" or name.startswith("dvclive/artifacts/") for name in added)
    entries = YAML(typ="safe").load((repo / "dvc.yaml").read_text())["artifacts"]
    assert entries[logged.name]["path"] == copy.relative_to(repo).as_posix()


async def test_a_path_removed_from_git_can_be_logged(repo: Path) -> None:
    in_git(repo)
    async with AsyncLive(root=repo) as live:
        with refused(
            repo, ArtifactPathError, match=f"git rm -r --cached {repo}/model.pt'", objects=False
        ):
            await live.log_artifact("model.pt")
        git(repo, "rm", "-r", "--cached", "--quiet", str(repo / "model.pt"))
        await live.log_artifact("model.pt")
    assert (repo / "model.pt.dvc").read_text() == dvc_file("weights", "model.pt")
    assert (repo / ".gitignore").read_text() == "/model.pt\n"


async def test_the_error_of_a_copy_does_not_advise_to_copy(repo: Path) -> None:
    write(repo, {"model.pt": "new", "dvclive/artifacts/model.pt": "old"})
    git(repo, "add", "dvclive")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="tracked by Git", objects=False) as caught:
            await live.log_artifact("model.pt", copy=True, type="model")
        assert "copy=True" not in str(caught.value)
    async with AsyncLive("../out", root=repo) as live:
        with refused(repo, ArtifactPathError, match="outside of the DVC repository") as caught:
            await live.log_artifact("model.pt", copy=True, type="model")
        assert "copy=True" not in str(caught.value)
    assert not (repo.parent / "out").exists()


async def test_an_unreadable_dvc_file_of_another_artifact_is_our_error(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "other.dvc": "outs: [\n"})
    async with AsyncLive(root=repo) as live:
        with pytest.raises(AsyncLiveError, match=r"other\.dvc"):
            await live.log_artifact("model.pt", type="model", copy=True)
        before = look(repo, objects=False)
        with pytest.raises(AsyncLiveError, match=r"other\.dvc") as caught:
            await live.log_artifact("model.pt", type="model")
        assert not isinstance(caught.value, CommitError)
        assert look(repo, objects=False) == before
        (repo / "other.dvc").unlink()
        await live.log_artifact("model.pt", type="model")
    assert tree(repo)["dvc.yaml"] == ("artifacts:\n  model:\n    path: model.pt\n    type: model\n")
