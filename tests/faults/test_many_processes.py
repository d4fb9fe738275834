"""Many processes log into one repository in parallel with `dvc` and `git`, and lose nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crowd import ArtifactSpec, artifacts, crowd, failures, make
from invariants import assert_nothing_lost, content, dvc_files, entries
from tally import SURVIVED
from twin import dvc, git

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes need fork")


def test_three_processes_log_in_parallel_and_lose_nothing(repo: Path) -> None:
    logged = prepare(repo, processes=3, count=10)
    with crowd(repo, processes=3, count=10) as zygote:
        assert failures(zygote) == []
    check(repo, logged)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "count"), [(6, 20), (16, 100)])
def test_many_processes_log_in_parallel_and_lose_nothing(
    repo: Path, processes: int, count: int
) -> None:
    logged = prepare(repo, processes, count)
    with crowd(repo, processes, count) as zygote:
        assert failures(zygote) == []
    check(repo, logged)


@pytest.mark.long
def test_dvc_and_git_commands_in_parallel_neither_fail_nor_make_a_call_fail(repo: Path) -> None:
    # Long enough for several rounds of commands, which wait for the lock.
    processes, count, outside = 6, 120, repo.parent / "sources"
    logged = prepare(repo, processes, count, outside)
    commands = 0
    with crowd(repo, processes, count, outside) as zygote:
        while zygote.poll() is None:
            other = repo / f"other-{commands}.bin"
            other.write_text(f"other {commands}")
            dvc(repo, "status")
            dvc(repo, "add", "--quiet", other.name)
            git(repo, "add", "--all")
            git(repo, "commit", "--quiet", "--allow-empty", "--message=In parallel")
            commands += 1
        assert failures(zygote) == []
    others = [f"other-{number}.bin" for number in range(commands)]
    assert commands >= 2
    check(repo, logged, others)


def prepare(
    repo: Path, processes: int, count: int, outside: Path | None = None
) -> list[ArtifactSpec]:
    logged = [spec for process in range(processes) for spec in artifacts(process, count, outside)]
    make(repo, logged)
    return logged


def check(repo: Path, logged: list[ArtifactSpec], others: list[str] | None = None) -> None:
    """Check that every entry, .dvc file and .gitignore line exists once, and no other."""
    tracked = {spec.tracked for spec in logged}.union(others or ())
    assert {str(path.relative_to(repo)) for path in dvc_files(repo)} == {
        f"{path}.dvc" for path in tracked
    }
    assert {name: entry["path"] for name, entry in entries(repo).items()} == {
        spec.name: spec.tracked for spec in logged if spec.name is not None
    }
    lines: dict[str, list[str]] = {}
    for path in sorted(tracked):
        directory, name = os.path.split(path)
        lines.setdefault(directory, []).append(f"/{name}")
    for directory, names in lines.items():
        assert sorted((repo / directory / ".gitignore").read_text().splitlines()) == names
    for spec in logged:
        assert content(repo / spec.tracked) == expected(spec)
    assert_nothing_lost(repo)
    assert "up to date" in dvc(repo, "status")
    SURVIVED["artifacts logged by many processes at once"] += len(logged)
    git(repo, "add", "--all")
    added = git(repo, "ls-files").splitlines()
    assert {f"{path}.dvc" for path in tracked} <= set(added)
    assert not tracked.intersection(added)


def expected(spec: ArtifactSpec) -> object:
    if "" in spec.texts:
        return spec.texts[""].encode()
    return {"a": spec.texts["a"].encode(), "sub": {"b": spec.texts["sub/b"].encode()}}
