"""Run ``asynclive doctor``: it reports problems and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from disk import write
from gate import locked
from session_process import running
from twin import Templates, dvc

from asynclive import AsyncLive
from asynclive._cli.main import run
from asynclive._doctor import file_systems
from asynclive._doctor.diagnosis import find_unfit_versions

Captured = pytest.CaptureFixture[str]

# Enters a block, prints a line, and stays in the block until its stdin is closed.
ENTER = """
import sys, anyio
from asynclive import AsyncLive

async def main():
    async with AsyncLive(root=sys.argv[1]):
        print("entered", flush=True)
        sys.stdin.read()

anyio.run(main)
"""


@pytest.fixture(autouse=True)
def _site_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give DVC a fresh site cache: threads of earlier tests still use the old one."""
    (tmp_path / "site-cache").mkdir()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site-cache"))


def state(*directories: Path) -> dict[str, tuple[int, ...]]:
    """Return each path at or below, with its inode, mode, size and times of change."""
    found = {}
    for directory in directories:
        for path in [directory, *sorted(directory.rglob("*"))]:
            info = path.lstat()
            found[str(path)] = (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns)
    return found


@contextmanager
def unchanged(repo: Path) -> Iterator[None]:
    """Check that the block changes no file of the repository or of DVC's site cache."""
    places = [repo.parent, Path(os.environ["DVC_SITE_CACHE_DIR"])]
    before = state(*places)
    yield
    assert state(*places) == before


def report(captured: Captured, repo: Path, code: int = 0) -> dict[str, Any]:
    """Return the JSON report of the command, which must end with ``code``."""
    with unchanged(repo):
        assert run(["doctor", "--json", str(repo)]) == code
    out, err = captured.readouterr()
    document: dict[str, Any] = json.loads(out)
    assert document["healthy"] is (code == 0)
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["Problem"] * len(
        document["problems"]
    )
    assert len(document["problems"]) == code
    assert err.isascii()
    return document


def test_a_repository_in_order_is_reported_as_json(repo: Path, capsys: Captured) -> None:
    write(repo, {"model.pt": "weights"})
    dvc(repo, "add", "--quiet", "model.pt")

    found = report(capsys, repo)

    assert found["repository"]["root"] == str(repo)
    assert found["repository"]["git_root"] == str(repo)
    assert found["repository"]["cache_dir"] == str(repo / ".dvc/cache/files/md5")
    assert found["repository"]["cache_types"] == ["reflink", "copy"]
    assert found["repository"]["outputs"] == 1
    assert {"hardlink", "symlink", "copy"} <= set(found["links"]["working"])
    assert found["links"]["used"] in ("reflink", "copy")
    assert found["links"]["cache_reflinks"] == ("reflink" in found["links"]["working"])
    assert found["workspace"]["free_bytes"] == pytest.approx(shutil.disk_usage(repo).free, rel=0.5)
    assert found["sessions"] == found["locks"] == found["notes"] == []
    for name in ("asynclive", "Python", "dvc", "anyio", "click", "rich"):
        assert found["versions"][name]


def test_a_repository_in_order_is_reported_as_text(repo: Path, capsys: Captured) -> None:
    (repo / "below").mkdir()
    with unchanged(repo):
        assert run(["doctor", str(repo / "below")]) == 0
    out, err = capsys.readouterr()
    said = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert said["repository"] == str(repo)
    assert said["cache.type"] == "reflink,copy"
    assert said["lock"] == "free"
    assert said["sessions"] == "0 running, 0 killed"
    assert out.endswith("\nNo problems found.\n")
    assert err == ""


def test_a_repository_that_was_never_used_is_not_touched(repo: Path, capsys: Captured) -> None:
    shutil.rmtree(repo / ".dvc" / "tmp", ignore_errors=True)
    shutil.rmtree(repo / ".dvc" / "cache", ignore_errors=True)
    (repo / ".dvc" / ".gitignore").unlink()
    found = report(capsys, repo)
    assert found["links"]["used"] in ("reflink", "copy")


def test_temp_files_of_killed_sessions_are_named_and_kept(repo: Path, capsys: Captured) -> None:
    with running(ENTER, repo) as process:
        assert process.line() == "entered"
        living = report(capsys, repo)["sessions"]
        assert [session["living"] for session in living] == [True, True]
        (Path(living[0]["directory"]) / "0").write_text("temp")
        process.kill()

    found = report(capsys, repo)

    assert {session["directory"] for session in found["sessions"]} == {
        session["directory"] for session in living
    }
    assert [session["living"] for session in found["sessions"]] == [False, False]
    assert [session["files"] for session in found["sessions"]] == [1, 0]
    assert found["notes"] == [
        "Sessions that were killed have left 2 directories of temp files (4 bytes). The next "
        "session removes them."
    ]

    async def enter() -> None:
        async with AsyncLive(root=repo):
            pass

    anyio.run(enter)
    assert report(capsys, repo)["sessions"] == []


def test_a_linked_dvc_directory_is_a_problem(repo: Path, capsys: Captured) -> None:
    (repo / ".dvc").rename(repo.parent / "dvc")
    (repo / ".dvc").symlink_to(repo.parent / "dvc")
    (problem,) = report(capsys, repo, 1)["problems"]
    assert "is a symbolic link" in problem
    assert "Move the directory here" in problem


def test_a_disk_whose_locks_stay_on_the_host_is_named(
    repo: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "local_locks", lambda *_: "nolock")
    notes = report(capsys, repo)["notes"]
    assert [note.partition(":")[0] for note in notes] == [
        f"The disk of the workspace '{repo}' is mounted with nolock",
        f"The disk of the cache '{repo}/.dvc/cache/files/md5' is mounted with nolock",
    ]


def test_the_process_that_holds_the_lock_is_named(repo: Path, capsys: Captured) -> None:
    with locked(repo):
        found = report(capsys, repo)
    (holder,) = found["locks"]
    assert holder["what"] == "repository"
    assert holder["pid"] > 0
    assert "zc.lockfile" in holder["command"]


def test_the_process_that_writes_to_a_part_of_the_workspace_is_named(
    repo: Path, capsys: Captured
) -> None:
    """Like ``dvc repro`` while a stage runs."""
    (repo / ".dvc" / "tmp").mkdir(exist_ok=True)
    holder = {"pid": 7, "cmd": "dvc repro"}
    text = json.dumps({"write": {"/data": holder}, "read": {"/model": [holder]}})
    (repo / ".dvc" / "tmp" / "rwlock").write_text(text)
    assert report(capsys, repo)["locks"] == [
        {"what": what, "pid": 7, "command": "dvc repro"} for what in ("/data", "/model")
    ]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"write": {"a": 3}}', '{"read": {"a": 3}}'])
def test_a_spoilt_lock_file_of_dvc_is_ignored(repo: Path, capsys: Captured, text: str) -> None:
    (repo / ".dvc" / "tmp").mkdir(exist_ok=True)
    (repo / ".dvc" / "tmp" / "rwlock").write_text(text)
    assert report(capsys, repo)["locks"] == []


def test_a_directory_without_a_repository_is_wrong(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "base" / "repo").mkdir(parents=True)
    found = report(capsys, tmp_path / "base" / "repo", code=1)
    assert found["problems"][0].startswith("No DVC or Git repository at")
    assert found["repository"] is None


def test_a_git_repository_without_dvc_is_usable(
    templates: Templates, tmp_path: Path, capsys: Captured
) -> None:
    bare = templates.make("bare-git", tmp_path / "base")
    found = report(capsys, bare)
    assert "'dvc init'" in found["notes"][0]
    assert not (bare / ".dvc").exists()


@pytest.mark.parametrize("kind", ["no-scm", "subdir"])
def test_other_kinds_of_repository_are_named(
    templates: Templates, tmp_path: Path, capsys: Captured, kind: str
) -> None:
    root = templates.make(kind, tmp_path / "base")
    found = report(capsys, root)
    assert (found["repository"]["git_root"] is None) == (kind == "no-scm")


def test_a_cache_type_without_a_working_link_is_wrong(repo: Path, capsys: Captured) -> None:
    dvc(repo, "config", "cache.type", "reflink")
    if "reflink" in report_any(capsys, repo)["links"]["working"]:
        pytest.skip("files can share blocks here")
    found = report(capsys, repo, code=1)
    assert "None of cache.type = reflink works" in found["problems"][0]
    assert found["links"]["used"] is None


def report_any(captured: Captured, repo: Path) -> dict[str, Any]:
    run(["doctor", "--json", str(repo)])
    document: dict[str, Any] = json.loads(captured.readouterr().out)
    return document


def test_a_cache_outside_the_repository_is_found(
    repo: Path, tmp_path: Path, capsys: Captured
) -> None:
    dvc(repo, "config", "cache.dir", str(tmp_path / "shared"))
    dvc(repo, "config", "cache.type", "symlink")
    found = report(capsys, repo)
    assert found["repository"]["cache_dir"] == str(tmp_path / "shared/files/md5")
    assert found["links"]["used"] == "symlink"
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("place", [".dvc/cache", ".dvc/tmp"])
def test_a_write_protected_directory_is_wrong(
    repo: Path, capsys: Captured, unprivileged: None, place: str
) -> None:
    (repo / place).mkdir(exist_ok=True)
    (repo / place).chmod(0o555)
    found = report(capsys, repo, code=1)
    (repo / place).chmod(0o755)
    assert "cannot be written to" in found["problems"][0]
    assert "Permission denied" in found["problems"][0]


def test_a_file_where_the_cache_should_be_is_wrong(repo: Path, capsys: Captured) -> None:
    (repo / ".dvc" / "cache").write_text("")
    found = report(capsys, repo, code=1)
    assert "is not a directory" in found["problems"][0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("dvc.yaml", "stages: [", "DVC cannot read its files"),
        ("model.pt.dvc", "outs: 3", "DVC cannot read its files"),
        (".dvc/config", "[core", "DVC cannot open"),
    ],
)
def test_a_configuration_that_dvc_cannot_read_is_wrong(
    repo: Path, capsys: Captured, name: str, text: str, said: str
) -> None:
    write(repo, {name: text})
    assert said in report(capsys, repo, code=1)["problems"][0]


def test_an_unsupported_version_is_wrong() -> None:
    versions = {"dvc": "2.58.2", "anyio": "4.16.0", "click": "8.2.0.dev0", "trio": "0.1"}
    requirements = ["dvc<4,>=3.60", "anyio>=4.5", "click>=8.1", "trio>=0.26; extra == 'test'", "x"]
    assert find_unfit_versions(versions, requirements) == [
        "dvc 2.58.2 is installed, and asynclive needs <4,>=3.60."
    ]


def test_a_missing_working_directory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["doctor"], ["log", "a.bin"]):
        assert run(command) == 1
        assert capsys.readouterr().err == (
            "Error: the working directory does not exist any more. Change to another directory.\n"
        )


def test_doctor_escapes_control_characters_in_names(
    templates: Templates, tmp_path: Path, capsys: Captured
) -> None:
    repo = templates.make("git", tmp_path / "red\x1b[31m")
    assert run(["doctor", str(repo)]) == 0
    out, err = capsys.readouterr()
    assert "red\\x1b[31m" in out
    assert "\x1b" not in out + err
