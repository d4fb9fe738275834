"""Git writes its index in several ways: each is read as DVC reads it, or refused on entering."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from disk import look, tree, write
from twin import Templates, dvc, git

from asynclive import ArtifactPathError, AsyncLive, RepositoryError
from asynclive._doctor.diagnosis import diagnose

pytestmark = pytest.mark.anyio

PATHS = ["tracked.pt", "data", "data/tracked.pt", "new.pt", "sub/new.pt"]

Setup = Callable[[Path], object]


def commands(*lines: str) -> Setup:
    def run(repo: Path) -> None:
        for line in lines:
            git(repo, *line.split())

    return run


def in_conflict(repo: Path) -> None:
    commands("commit --quiet --all --message=Ours", "branch other")(repo)
    commands("rm --quiet tracked.pt", "commit --quiet --amend --message=Theirs")(repo)
    with pytest.raises(subprocess.CalledProcessError):
        git(repo, "merge", "other")


READ: dict[str, Setup] = {
    "version 4": commands("update-index --index-version=4"),
    "version 3": commands("add --intent-to-add sub/later"),
    "without a hash": commands("config index.skipHash true", "update-index --force-write-index"),
    "with a cache of untracked files": commands("update-index --untracked-cache", "status"),
    "with a shared cache of trees": commands("commit --quiet --all --message=x"),
    "of a sparse checkout": commands("sparse-checkout set sub .dvc"),
    "of a manyFiles repository": commands("config feature.manyFiles true", "add tracked.pt"),
    "with a conflict": in_conflict,
    "with a monitor of the file system": commands(
        "config core.fsmonitor .git/no-monitor", "update-index --fsmonitor"
    ),
    "of a detached commit": commands("checkout --quiet --detach"),
    "in another directory": commands("init --quiet --separate-git-dir=../separate"),
    "of core.worktree": lambda repo: git(repo, "config", "core.worktree", str(repo)),
    "with the place of its extensions": commands(
        "config index.recordEndOfIndexEntries true", "config index.threads 2", "add tracked.pt"
    ),
}
REFUSED: dict[str, tuple[str, Setup]] = {
    "split": ("split", commands("update-index --split-index")),
    "split, written again": (
        "split",
        commands("config core.splitIndex true", "update-index --force-write-index"),
    ),
    "sparse": (
        "sparse",
        commands("sparse-checkout init --cone --sparse-index", "sparse-checkout set sub .dvc"),
    ),
}


@pytest.fixture
def twins(templates: Templates, tmp_path: Path) -> tuple[Path, Path]:
    ours, theirs = (templates.make("git", tmp_path / name) for name in ("ours", "theirs"))
    for repo in (ours, theirs):
        write(repo, {"tracked.pt": "t", "data/tracked.pt": "t", "sub/kept": "k", "sub/later": "l"})
        git(repo, "add", "tracked.pt", "data", "sub/kept")
        git(repo, "commit", "--quiet", "--message=Files")
        write(repo, {"tracked.pt": "changed"})
    return ours, theirs


def write_paths(repo: Path) -> None:
    write(repo, {path: path for path in PATHS if path != "data"})


def added_by_dvc(repo: Path) -> dict[str, bool]:
    """Return for each path whether ``dvc add`` tracks it."""
    tracked = {}
    for path in PATHS:
        try:
            dvc(repo, "add", path)
            tracked[path] = True
        except subprocess.CalledProcessError:
            tracked[path] = False
    return tracked


async def logged(repo: Path) -> dict[str, bool]:
    tracked = {}
    async with AsyncLive(root=repo) as live:
        for path in PATHS:
            try:
                await live.log_artifact(path)
                tracked[path] = True
            except ArtifactPathError:
                tracked[path] = False
    return tracked


@pytest.mark.parametrize("index", READ)
async def test_an_index_is_read_as_dvc_reads_it(twins: tuple[Path, Path], index: str) -> None:
    for repo in twins:
        READ[index](repo)
        write_paths(repo)
    ours, theirs = twins
    expected = added_by_dvc(theirs)
    assert expected == {path: "new" in path for path in PATHS}
    assert await logged(ours) == expected
    assert tree(ours) == tree(theirs)
    assert git(ours, "status", "--porcelain") == git(theirs, "status", "--porcelain")


@pytest.mark.parametrize("autostage", [False, True])
@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"]
)
async def test_the_variables_of_git_matter_as_little_as_to_dvc(
    twins: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    autostage: bool,
) -> None:
    """A hook of Git has such variables, and so has the program that it starts."""
    for repo in twins:
        write_paths(repo)
        if autostage:
            dvc(repo, "config", "core.autostage", "true")
    ours, theirs = twins
    with monkeypatch.context() as patch:
        patch.setenv(name, str(tmp_path / "elsewhere"))
        assert await logged(ours) == added_by_dvc(theirs)
    assert tree(ours) == tree(theirs)
    assert git(ours, "status", "--porcelain") == git(theirs, "status", "--porcelain")


@pytest.mark.parametrize("kind", ["worktree", "submodule"])
async def test_the_index_of_a_linked_repository_counts(
    twins: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    """In both, ``.git`` is a file."""
    linked = []
    for repo in twins:
        git(repo, "reset", "--quiet", "--hard")
        if kind == "worktree":
            git(repo, "worktree", "add", "--quiet", "-b", "linked", f"../{kind}")
            linked.append(repo.parent / kind)
        else:
            outer = repo.parent / "outer"
            outer.mkdir()
            git(outer, "init", "--quiet")
            allow = ("-c", "protocol.file.allow=always")
            git(outer, *allow, "submodule", "--quiet", "add", str(repo), kind)
            linked.append(outer / kind)
        git(repo, "rm", "--quiet", "--cached", "tracked.pt")
    for repo in linked:
        write_paths(repo)
        dvc(repo, "config", "core.autostage", "true")
    ours, theirs = linked
    assert await logged(ours) == added_by_dvc(theirs) == {path: "new" in path for path in PATHS}
    assert tree(ours) == tree(theirs)
    assert git(ours, "status", "--porcelain") == git(theirs, "status", "--porcelain")


@pytest.mark.parametrize("index", REFUSED)
async def test_an_index_that_dvc_cannot_read_is_refused_on_entering(
    twins: tuple[Path, Path], index: str
) -> None:
    feature, setup = REFUSED[index]
    for repo in twins:
        setup(repo)
        write_paths(repo)
    ours, theirs = twins
    assert not any(added_by_dvc(theirs).values())
    before = look(ours, objects=True)
    with pytest.raises(RepositoryError, match=f"it is {feature}") as caught:
        await logged(ours)
    assert look(ours, objects=True) == before
    assert diagnose(str(ours)).problems == [str(caught.value)]
    for command in re.findall(r"'git ([^']*)'", str(caught.value)):
        git(ours, *command.split())
    assert await logged(ours) == {path: "new" in path for path in PATHS}


async def test_an_index_that_becomes_split_in_the_block_refuses_each_artifact(repo: Path) -> None:
    write(repo, {"tracked.pt": "t", "new.pt": "n"})
    git(repo, "add", "tracked.pt")
    async with AsyncLive(root=repo) as live:
        git(repo, "update-index", "--split-index")
        before = tree(repo)
        for path in ("tracked.pt", "new.pt"):
            with pytest.raises(RepositoryError, match="it is split"):
                await live.log_artifact(path)
        assert tree(repo) == before
        git(repo, "update-index", "--no-split-index")
        await live.log_artifact("new.pt")
