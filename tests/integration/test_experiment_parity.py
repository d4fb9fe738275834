"""Compare an experiment of ``AsyncLive(save_dvc_exp=True)`` with one of ``dvc exp save``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import tree, write
from twin import Templates, dvc, git

from asynclive import AsyncLive, ExperimentError
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._dvc.repository.workspace_commit import WorkspaceCommit

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

STAGE = """
stages:
  train:
    cmd: cp params.yaml out.txt
    deps: [changed.txt]
    params: [lr]
    outs: [out.txt]
metrics: [metrics.json]
params: [params.yaml]
plots: [plot.csv, plots]
"""


def changed_files(repo: Path) -> None:
    """All that can happen to a file that Git tracks, and files that it does not track."""
    names = ("clean", "changed", "deleted", "removed", "executable")
    write(repo, {f"{name}.txt": "before\n" for name in names} | {"é \n\"'-x": "odd\n"})
    write(repo, {"-dash": "before\n"})
    (repo / "link").symlink_to("clean.txt")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Files")
    write(repo, {"changed.txt": "after\n", "-dash": "after\n", "é \n\"'-x": "odder\n"})
    (repo / "deleted.txt").unlink()
    git(repo, "rm", "--quiet", "removed.txt")
    (repo / "executable.txt").chmod(0o755)
    (repo / "link").unlink()
    (repo / "link").symlink_to("changed.txt")
    write(repo, {"staged.txt": "staged\n", "intended.txt": "intended\n", "untracked.txt": ""})
    git(repo, "add", "staged.txt")
    git(repo, "add", "--intent-to-add", "intended.txt")
    write(repo, {"staged.txt": "and changed\n"})


def pipeline(repo: Path) -> None:
    """A stage whose dependency has changed, and top-level metrics, params and plots."""
    write(repo, {"changed.txt": "before\n", "params.yaml": "lr: 1\n", "dvc.yaml": STAGE})
    dvc(repo, "repro", "--quiet")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=A pipeline")
    write(repo, {"changed.txt": "after\n", "params.yaml": "lr: 2\n"})
    write(repo, {"metrics.json": '{"loss": 1}\n', "plot.csv": "x,y\n", "plots/one.csv": "x,y\n"})
    write(repo, {".gitignore": "/out.txt\n/plots\n"})


def new_pipeline(repo: Path) -> None:
    """A stage, and its dvc.lock, that Git does not track."""
    write(repo, {"changed.txt": "before\n", "params.yaml": "lr: 1\n", "dvc.yaml": STAGE})
    dvc(repo, "repro", "--quiet")


def changed_data(repo: Path) -> None:
    """Data that DVC tracks, changed after ``dvc add``; and a ``.dvc`` file that Git knows not."""
    write(repo, {"data/one": "1", "data/two": "2", "file": "f", "kept": "k"})
    dvc(repo, "add", "--quiet", "data", "file", "kept")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Data")
    write(repo, {"fresh": "n"})
    dvc(repo, "add", "--quiet", "fresh")
    for name in ("data/two", "file", "fresh"):
        (repo / name).unlink()  # write-protected
    write(repo, {"data/two": "changed", "data/three": "3", "file": "changed", "fresh": "changed"})


def line_ends(repo: Path) -> None:
    git(repo, "config", "core.autocrlf", "input")
    write(repo, {".gitattributes": "*.bin binary\n", "text": "a\nb\n", "data.bin": "a\r\n"})
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Lines")
    write(repo, {"text": "a\r\nb\r\nc\r\n", "data.bin": "b\r\n"})


def detached_head(repo: Path) -> None:
    changed_files(repo)
    git(repo, "checkout", "--quiet", "--detach")


def submodule(repo: Path) -> None:
    other = repo.parent / "other"
    if not other.exists():
        other.mkdir()
        git(other, "init", "--quiet", "--template=")
        git(other, "config", "user.name", "Twin")
        git(other, "config", "user.email", "twin@example.com")
        write(other, {"inside": "1"})
        git(other, "add", "--all")
        git(other, "commit", "--quiet", "--message=Inside")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    git(repo, "commit", "--quiet", "--message=A submodule")
    write(repo, {"sub/inside": "changed", "sub/new": "new"})


CASES = [changed_files, pipeline, new_pipeline, changed_data, line_ends, detached_head, submodule]


def facts(repo: Path, root: Path) -> dict[str, object]:
    """Return all that can be known of the one experiment."""
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = (ref for ref in refs if "/exec/" not in ref)
    tree = git(repo, "ls-tree", "-r", "-z", ref).split("\0")
    return {
        "ref": ref,
        # `dvc exp save` adds its own arguments, by mistake.
        "tree": [entry for entry in tree if not entry.endswith(".dvc/tmp/repro.dat")],
        "commit": git(repo, "log", "-1", "--format=%an %ae %cn %ce %P %B", ref),
        "list": dvc(root, "exp", "list", "--name-only"),
    }


@pytest.mark.parametrize("prepare", CASES)
def test_an_experiment_is_that_of_dvc(
    repo: Path, tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(repo)
    assert_same_as_dvc(repo, repo, tmp_path / "twin")


def test_an_experiment_of_a_repository_in_a_subdirectory_is_that_of_dvc(
    templates: Templates, tmp_path: Path
) -> None:
    repo = templates.make("subdir", tmp_path / "subdir")
    write(repo, {"outside.txt": "before\n"})
    pipeline(repo / "project")
    write(repo, {"outside.txt": "after\n"})
    assert_same_as_dvc(repo, repo / "project", tmp_path / "twin")


def assert_same_as_dvc(repo: Path, root: Path, twin: Path) -> None:
    """Check that an experiment of the repository at ``root`` is that of DVC in a copy."""
    write(root, {"a.pt": "a", "ignored/file": "i"})
    with (root / ".gitignore").open("a") as rules:
        rules.write("/ignored\n")
    dvc(root, "add", "--quiet", "a.pt")
    shutil.copytree(repo, twin, symlinks=True)
    twin_root = twin / root.relative_to(repo)
    new = ("a.pt.dvc", ".gitignore", "ignored/file")
    options = [f"--include-untracked={twin_root / path}" for path in new]
    dvc(twin_root, "exp", "save", "--quiet", "--name=mine", *options)
    with unchanged(repo):
        save(root, "mine", *new)
    assert facts(repo, root) == facts(twin, twin_root)


@contextmanager
def unchanged(repo: Path) -> Iterator[None]:
    """Check that the workspace, Git's index and its stash are after the block as before it."""
    index = Path(git(repo, "rev-parse", "--absolute-git-dir").strip(), "index")
    before, bytes_before = tree(repo), index.read_bytes()
    yield
    assert tree(repo) == before
    assert index.read_bytes() == bytes_before
    assert not git(repo, "stash", "list")
    assert "stash" not in git(repo, "for-each-ref")


def test_dvc_uses_the_experiment_as_one_of_its_own(repo: Path, tmp_path: Path) -> None:
    pipeline(repo)
    write(repo, {"data/one": "1"})
    dvc(repo, "add", "--quiet", "data")
    save(repo, "mine", "data.dvc")
    # The metric, and the parameter.
    assert ",1,2," in dvc(repo, "exp", "show", "--csv").split("mine,")[1].splitlines()[0]
    assert "mine" in dvc(repo, "exp", "diff", "HEAD", "mine", "--md")
    git(repo, "clone", "--quiet", "--bare", str(repo), str(tmp_path / "bare"))
    git(repo, "remote", "add", "origin", str(tmp_path / "bare"))
    dvc(repo, "exp", "push", "--quiet", "--no-cache", "origin", "mine")
    assert "/mine" in git(tmp_path / "bare", "for-each-ref", "refs/exps")
    dvc(repo, "exp", "branch", "mine", "branch")
    git(repo, "stash", "--quiet", "--include-untracked")
    shutil.rmtree(repo / "data")
    dvc(repo, "exp", "apply", "--quiet", "mine")
    assert tree(repo)["data/one"] == "1"
    assert tree(repo)["params.yaml"] == "lr: 2\n"
    assert "branch" in git(repo, "branch")


def filters(repo: Path) -> str:
    git(repo, "config", "filter.upper.clean", "tr a-z A-Z")
    write(repo, {".gitattributes": "*.txt filter=upper\n", "a.txt": "new\n"})
    return "NEW\n"


def a_locked_index(repo: Path) -> str:
    (repo / ".git" / "index.lock").touch()
    return "new\n"


def an_index_of_version_4(repo: Path) -> str:
    git(repo, "update-index", "--index-version", "4")
    return "new\n"


def other_kinds_of_files(repo: Path) -> str:
    """A link that becomes a file, a directory that becomes one, and a file that becomes a link."""
    write(repo, {"b": "b", "c/d": "d"})
    (repo / "e").symlink_to("b")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Kinds")
    shutil.rmtree(repo / "c")
    for name in ("b", "e"):
        (repo / name).unlink()
    (repo / "b").symlink_to("a.txt")
    write(repo, {"c": "c", "e": "e"})
    return "new\n"


def missing_data(repo: Path) -> str:
    write(repo, {"data": "d"})
    dvc(repo, "add", "--quiet", "data")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Data")
    (repo / "data").unlink()
    return "new\n"


def a_stage_that_never_ran(repo: Path) -> str:
    write(repo, {"dvc.yaml": STAGE, "changed.txt": ""})
    return "new\n"


def refused_line_ends(repo: Path) -> str:
    git(repo, "config", "core.autocrlf", "true")
    git(repo, "config", "core.safecrlf", "true")
    return "new\n"


HARD = [
    *(filters, a_locked_index, an_index_of_version_4, other_kinds_of_files),
    *(missing_data, a_stage_that_never_ran, refused_line_ends),
]


@pytest.mark.parametrize("prepare", HARD)
def test_an_experiment_is_saved_where_dvc_fails(repo: Path, prepare: Callable[[Path], str]) -> None:
    write(repo, {"a.txt": "before\n"})
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=A file")
    text = prepare(repo)
    write(repo, {"a.txt": "new\n", "staged": "s"})
    if prepare is not a_locked_index:
        git(repo, "add", "staged")
    with unchanged(repo):
        save(repo, "mine")
    ref = str(facts(repo, repo)["ref"])
    assert git(repo, "show", f"{ref}:a.txt") == text
    changed = git(repo, "diff", "--name-status", "HEAD", ref).split("\n")
    if prepare is other_kinds_of_files:
        assert {"T\tb", "D\tc/d", "T\te"} <= {*changed}


def test_a_linked_worktree_with_a_sparse_checkout_saves_its_own_files(
    repo: Path, tmp_path: Path
) -> None:
    write(repo, {"in/a.txt": "before\n", "out/b.txt": "kept\n"})
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Files")
    worktree = tmp_path / "worktree"
    git(repo, "worktree", "add", "--quiet", str(worktree))
    git(worktree, "sparse-checkout", "set", "--cone", "in", ".dvc")
    assert not (worktree / "out").exists()
    write(repo, {"in/a.txt": "in the main worktree\n"})
    write(worktree, {"in/a.txt": "new\n"})
    with unchanged(worktree):
        save(worktree, "mine")
    ref = str(facts(repo, repo)["ref"])
    assert git(repo, "diff", "--name-status", "worktree", ref).split() == ["M", "in/a.txt"]
    assert git(repo, "show", f"{ref}:in/a.txt") == "new\n"


HOOK = """#!{python}
import sys
sys.path[:] = {path!r}
import asyncio
from asynclive import AsyncLive

async def main():
    async with AsyncLive(save_dvc_exp=True, exp_name="mine"):
        open("a.txt", "w").write("new\\n")

asyncio.run(main())
sys.exit(1)
"""


def test_a_session_in_a_hook_of_git_saves_the_workspace(repo: Path) -> None:
    """Git gives its hook the path of another index, and holds the lock of the real one."""
    write(repo, {"a.txt": "before\n", "b.txt": "before\n"})
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Files")
    write(repo, {"b.txt": "new\n"})
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(python=sys.executable, path=sys.path))
    hook.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        git(repo, "commit", "--quiet", "--message=By half", "a.txt")
    ref = str(facts(repo, repo)["ref"])
    assert git(repo, "diff", "--name-only", "HEAD", ref).split() == ["a.txt", "b.txt"]


def test_a_merge_with_conflicts_is_an_error_and_changes_nothing(repo: Path) -> None:
    for branch in ("one", "two"):
        git(repo, "checkout", "--quiet", "-b", branch, "main")
        write(repo, {"a.txt": branch})
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message=File")
    with pytest.raises(subprocess.CalledProcessError):
        git(repo, "merge", "--quiet", "one")
    with unchanged(repo), pytest.raises(ExperimentError, match="a merge has conflicts"):
        save(repo, "mine")
    assert not git(repo, "for-each-ref", "refs/exps")


def test_a_workspace_that_dvc_stashed_at_that_moment_is_read_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.txt": "before\n", ".dvc/tmp/exps/rwlock": "{}"})
    git(repo, "add", "a.txt")
    git(repo, "commit", "--quiet", "--message=A file")
    write(repo, {"a.txt": "new\n"})
    update, texts = WorkspaceCommit.update, ["before\n"]

    def update_while_stashed(commit: WorkspaceCommit) -> None:
        if texts:  # as `dvc exp save` does
            write(repo, {"a.txt": texts.pop()})
            os.utime(repo / ".dvc" / "tmp" / "exps" / "rwlock", ns=(0, 0))
            update(commit)
            write(repo, {"a.txt": "new\n"})
        else:
            update(commit)

    monkeypatch.setattr(WorkspaceCommit, "update", update_while_stashed)
    save(repo, "mine")
    assert not texts
    assert git(repo, "show", f"{facts(repo, repo)['ref']}:a.txt") == "new\n"


@pytest.mark.anyio
@on_asyncio
async def test_a_head_that_dvc_moved_at_that_moment_is_not_the_baseline(repo: Path) -> None:
    """``dvc exp save`` commits on a detached HEAD, and restores HEAD afterwards."""
    start = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-ref", "refs/exps/exec/EXEC_BASELINE", start)
    git(repo, "checkout", "--quiet", "--detach")
    git(repo, "commit", "--quiet", "--allow-empty", "--message=Another experiment")
    async with AsyncLive(root=repo, save_dvc_exp=True, exp_name="mine"):
        pass
    assert facts(repo, repo)["ref"] == f"refs/exps/{start[:2]}/{start[2:]}/mine"


def test_an_experiment_is_pushed_if_dvc_is_configured_to(repo: Path, tmp_path: Path) -> None:
    git(repo, "clone", "--quiet", "--bare", str(repo), str(tmp_path / "bare"))
    git(repo, "remote", "add", "origin", str(tmp_path / "bare"))
    dvc(repo, "remote", "add", "--quiet", "--default", "storage", str(tmp_path / "storage"))
    dvc(repo, "config", "exp.auto_push", "true")
    save(repo, "mine")
    assert "/mine" in git(tmp_path / "bare", "for-each-ref", "refs/exps")


def test_an_experiment_of_another_session_is_not_replaced(repo: Path) -> None:
    save(repo, "mine")
    with pytest.raises(ExperimentError, match="of this name exists already"):
        save(repo, "mine")


def save(root: Path, name: str, *include: str) -> None:
    """Save an experiment, as a session does at its end."""
    repository = DvcRepository.open(str(root))
    try:
        repository.save_experiment(name, None, [str(root / path) for path in include], 10)
    finally:
        repository.close()
