"""The next group notices changes of the workspace by other processes, by either watch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from dvc.dvcfile import is_valid_filename
from dvc.repo import Repo
from twin import dvc

from asynclive._artifact.records import StagedArtifact, TrackedArtifact
from asynclive._artifact.request import make_request
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._index.directory_watch import StatWatch
from asynclive._index.inotify import open_inotify
from asynclive._stage.stager import Stager
from asynclive._workers.file_workers import FileWorkers


class Group:
    """Commit one artifact at a time, each as a group of its own."""

    def __init__(self, root: Path, repository: DvcRepository) -> None:
        self.root = root
        self.repository = repository
        self.store = ObjectStore(repository.layout)

    def log(self, name: str) -> str:
        """Return the outcome: 'tracked', or the reason why not."""
        (result,) = self.commit([self.stage(name)])
        return result

    def stage(self, name: str, copy: bool | str = False) -> StagedArtifact:
        path = self.root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        request = make_request(
            name,
            copy=copy,
            root=str(self.root),
            real_root=str(self.root),
            artifacts_dir=str(self.root / "x"),
        )

        async def stage() -> StagedArtifact:
            stager = Stager(self.store, FileWorkers(2))
            return await stager.stage(
                await stager.sources.plan(request, self.repository.ignore_filter)
            )

        return anyio.run(stage)

    def commit(self, group: list[StagedArtifact]) -> list[str]:
        assert self.repository.acquire()
        try:
            results = self.repository.commit(group)
        finally:
            self.repository.release()
        return [
            "tracked" if isinstance(result, TrackedArtifact) else str(result) for result in results
        ]

    def owner(self, name: str) -> str | None:
        found = self.repository.pipeline_owner(str(self.root / name))
        return None if found is None else os.path.relpath(found[0], self.root)


@pytest.fixture(params=["inotify", "by_stamps"])
def group(
    request: pytest.FixtureRequest, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Group]:
    monkeypatch.chdir(repo)
    watch = StatWatch(is_valid_filename) if request.param == "by_stamps" else open_inotify()
    if watch is None:
        pytest.skip("no inotify here")
    repository = DvcRepository(Repo(str(repo)), [watch, StatWatch(is_valid_filename)])
    yield Group(repo.resolve(), repository)
    repository.close()


def test_changes_by_dvc_commands_are_noticed(group: Group, repo: Path) -> None:
    assert group.log("first.bin") == "tracked"
    (repo / "data" / "sub").mkdir(parents=True)
    (repo / "data" / "sub" / "a").write_text("a")
    dvc(repo, "add", "--quiet", "data")
    assert group.log("data/sub/b") == "tracked"  # inside the directory, whose .dvc is updated
    assert not (repo / "data" / "sub" / "b.dvc").exists()
    assert "nfiles: 2" in (repo / "data.dvc").read_text()
    dvc(repo, "remove", "--quiet", "data.dvc")
    assert group.owner("data") is None
    assert group.log("data/sub/b") == "tracked"
    assert (repo / "data" / "sub" / "b.dvc").exists()
    assert "contains" in group.log("data")
    dvc(repo, "add", "--quiet", "first.bin")
    assert group.log("first.bin") == "tracked"
    assert "up to date" in dvc(repo, "status")


def test_changes_after_the_scan_ahead_are_noticed(group: Group, repo: Path) -> None:
    group.repository.save_hashes(str(group.root / "data"), [])
    (repo / "data" / "sub").mkdir(parents=True)
    (repo / "data" / "sub" / "a").write_text("a")
    dvc(repo, "add", "--quiet", "data/sub/a")
    assert "contains" in group.log("data")
    assert group.log("data/sub/a") == "tracked"
    assert "up to date" in dvc(repo, "status")


def test_the_commit_reports_a_file_that_the_scan_ahead_could_not_read(
    group: Group, repo: Path
) -> None:
    broken = repo / "broken.dvc"
    broken.write_text("outs: [")
    group.repository.save_hashes(str(group.root / "first.bin"), [])
    assert "cannot read its files" in group.log("first.bin")
    broken.unlink()
    assert group.log("first.bin") == "tracked"
    assert "up to date" in dvc(repo, "status")


def test_new_changed_and_removed_dvc_files_are_noticed(group: Group, repo: Path) -> None:
    assert group.log("first.bin") == "tracked"
    text = (repo / "first.bin.dvc").read_text()
    outside = repo.parent / "outside"
    for directory in (repo / "made" / "below", outside / "below"):
        directory.mkdir(parents=True)
        (directory / "x.dvc").write_text(text.replace("first.bin", "x"))
    outside.rename(repo / "moved")
    assert group.owner("made/below/x") == "made/below/x.dvc"
    assert group.owner("moved/below/x") == "moved/below/x.dvc"
    assert "contains" in group.log("moved")

    with (repo / "made" / "below" / "x.dvc").open("r+") as file:  # in the place of the file
        file.write(text.replace("first.bin", "y"))
    assert group.owner("made/below/x") is None
    assert group.owner("made/below/y") == "made/below/x.dvc"

    shutil.rmtree(repo / "made")
    assert group.owner("made/below/y") is None
    assert group.log("made/below/y") == "tracked"

    stages = "stages: {a: {cmd: x, outs: [out]}}\n"
    for artifacts in ("", "artifacts:\n  b:\n    path: stages\n\n"):
        (repo / "dvc.yaml").write_text(artifacts + stages)
        assert "stage 'a'" in group.log("out")
    (repo / "dvc.yaml").write_text(artifacts + stages.replace("out]", "other]"))
    assert group.log("out") == "tracked"
    assert "stage 'a'" in group.log("other")
    (repo / "dvc.yaml").write_text(artifacts)
    assert group.log("other") == "tracked"


def test_changed_ignore_rules_are_noticed(group: Group, repo: Path) -> None:
    (repo / "sub").mkdir()
    assert group.log("sub/a") == "tracked"
    with (repo / ".gitignore").open("a") as file:
        file.write("/sub\n")
    assert group.owner("sub/a") is None
    assert "Git ignores" in group.log("sub/b")
    (repo / ".gitignore").write_text("*.tmp\n")
    assert group.owner("sub/a") == "sub/a.dvc"
    assert "Git ignores" in group.log("a.tmp/b")
    (repo / ".dvcignore").write_text("sub\n")
    assert group.owner("sub/a") is None
    assert ".dvcignore" in group.log("sub/b")
    (repo / ".dvcignore").write_text("")
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "exclude").write_text("b.dvc\n")
    assert "Git ignores" in group.log("sub/b")
    (repo / ".git" / "info" / "exclude").write_text("")
    assert group.log("sub/b") == "tracked"


def test_files_that_git_tracks_are_noticed(group: Group, repo: Path) -> None:
    assert group.log("a.bin") == "tracked"
    (repo / "b.bin").write_text("b")
    subprocess.run(["git", "add", "b.bin"], cwd=repo, check=True)
    assert "already tracked by Git" in group.log("b.bin")
    subprocess.run(["git", "rm", "--quiet", "--cached", "b.bin"], cwd=repo, check=True)
    assert group.log("b.bin") == "tracked"


def test_a_directory_that_becomes_a_repository_is_left_alone(group: Group, repo: Path) -> None:
    (repo / "sub").mkdir()
    assert group.log("sub/a") == "tracked"
    dvc(repo / "sub", "init", "--subdir", "--quiet")
    assert group.owner("sub/a") is None
    shutil.rmtree(repo / "sub" / ".dvc")
    assert group.owner("sub/a") == "sub/a.dvc"


def test_after_a_failed_call_the_others_use_the_file_on_disk(group: Group, repo: Path) -> None:
    (repo / "data").mkdir()
    (repo / "data" / "a").write_text("a")
    assert group.log("data") == "tracked"
    before = (repo / "data.dvc").read_text()
    (repo / "data.dvc").chmod(0o444)
    subprocess.run(["git", "add", "--force", "data/a"], cwd=repo, check=True)
    assert "already tracked by Git" in group.log("data/b")
    assert (repo / "data.dvc").read_text() == before
    subprocess.run(["git", "rm", "--quiet", "--cached", "data/a"], cwd=repo, check=True)
    assert group.log("data/c") == "tracked"
    assert "nfiles: 2" in (repo / "data.dvc").read_text()


def test_a_call_that_fails_leaves_nothing_in_the_files_of_its_group(
    group: Group, repo: Path
) -> None:
    (repo / "x").mkdir()
    (repo / "x" / "a").write_text("a")
    assert group.log("x") == "tracked"
    staged = [group.stage("b", copy="sub"), group.stage("c", copy=True)]
    (repo / "x" / "sub").write_text("in the way of the first copy")
    failed, tracked = group.commit(staged)
    assert "sub" in failed
    assert tracked == "tracked"
    assert "nfiles: 2" in (repo / "x.dvc").read_text()
