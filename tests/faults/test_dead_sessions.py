"""The next session repairs and removes what a killed session has left, and touches nothing else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import leftovers, write
from invariants import assert_nothing_lost, assert_one_of, assert_sound, content
from session_process import Process, running
from twin import Templates, dvc, git

from asynclive import AsyncLive

pytestmark = pytest.mark.anyio


# Logs a copy of each path, and waits before the commit, when all of them are staged.
STAGE = """
import sys, anyio
from asynclive import AsyncLive
from asynclive._dvc.repository.dvc_repository import DvcRepository

def acquire(repository):
    print("staged", flush=True)
    sys.stdin.read()

DvcRepository.acquire = acquire

async def main():
    async with AsyncLive(root=sys.argv[1]) as live, anyio.create_task_group() as group:
        for path in sys.argv[2:]:
            group.start_soon(lambda path=path: live.log_artifact(path, copy=True, desc="new"))

anyio.run(main)
"""

# Logs a path with dvc.yaml as a mount point, and kills itself while it writes dvc.yaml in place.
IN_PLACE = """
import errno, os, signal, sys, anyio
from asynclive import AsyncLive

replace = os.replace

def refuse(one, other, **kwargs):
    if other.endswith("dvc.yaml"):
        raise OSError(errno.EBUSY, "Device or resource busy")
    replace(one, other, **kwargs)

os.replace = refuse
os.ftruncate = lambda fd, size: os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with AsyncLive(root=sys.argv[1], isolation="thread") as live:
        await live.log_artifact("model", desc="new")

anyio.run(main)
"""

# Logs a path or a copy of it without renameat2, and kills itself at the n-th rename of a swap.
SWAP = """
import os, signal, sys, anyio
from asynclive import AsyncLive
from asynclive._fs import atomic_rename

number, path, copy = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "copy"
rename, calls = os.rename, []

def counted(one, other, **kwargs):
    if "asynclive-" in f"{one}{other}" and not one.endswith("none"):
        calls.append(one)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    rename(one, other, **kwargs)

atomic_rename._renameat2 = None

async def main():
    async with AsyncLive() as live:
        os.rename = counted
        await live.log_artifact(path, copy=copy, desc="new")

anyio.run(main)
"""


@contextmanager
def staged(repo: Path, *paths: str) -> Iterator[Process]:
    with running(STAGE, repo, *paths) as process:
        assert process.line() == "staged"
        yield process


async def log(repo: Path, *paths: str, desc: str = "new") -> None:
    async with AsyncLive(root=repo) as live:
        for path in paths:
            await live.log_artifact(path, copy=True, desc=desc)


async def test_the_next_session_removes_and_reports_the_files_of_a_killed_one(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asynclive")
    write(repo, {"one": "1", "data/a": "a", "data/b": "b"})
    (repo / "large").write_bytes(bytes(3_000_000))
    with staged(repo, "one", "data", "large") as process:
        left = leftovers(repo)
        assert len(left) == 2
        await log(repo, "one")  # while that session is running
        assert leftovers(repo) == left
        assert not caplog.records
        process.kill()
    assert_sound(repo)
    assert leftovers(repo) == left
    assert "asynclive" not in git(repo, "status", "--porcelain", "-uall")
    await log(repo, "one", "data", "large")
    assert_nothing_lost(repo)
    assert sorted(record.args[0] for record in caplog.records if record.args) == sorted(
        str(repo / name) for name in left
    )
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"


async def test_a_running_session_is_not_affected_by_others_that_start_and_end(repo: Path) -> None:
    write(repo, {"one": "1", "two": "2"})
    async with AsyncLive(root=repo) as live:
        await log(repo, "one")
        with staged(repo, "one") as process:
            process.kill()
        async with AsyncLive(root=repo) as other:
            await other.log_artifact("one", copy=True)
            await live.log_artifact("two", copy=True)
            assert len(leftovers(repo)) == 4
    assert_nothing_lost(repo)


@on_asyncio
async def test_two_repositories_with_one_cache_remove_only_files_of_killed_sessions(
    templates: Templates, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    one, other = (templates.make("git", tmp_path / name) for name in ("one", "other"))
    for repo in (one, other):
        write(repo, {".dvc/config": f"[cache]\n    dir = {cache}\n"})
        write(repo, {"artifact": repo.parent.name})
    with staged(one, "artifact") as killed, staged(one, "artifact") as running_session:
        (before,) = {len(leftovers(one)), len(leftovers(cache))}
        assert before == 2
        killed.kill()
        await log(other, "artifact")
        assert len(leftovers(cache)) == 1  # of the session that is running
        assert len(leftovers(one)) == 2  # the next session in that repository removes one
        await log(one, "artifact")
        assert len(leftovers(one)) == 1
        running_session.kill()
    await log(one, "artifact")
    assert leftovers(tmp_path) == []


@on_asyncio
async def test_a_temp_directory_that_cannot_be_removed_does_not_stop_a_session(
    repo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"one": "1"})
    with staged(repo, "one") as process:
        process.kill()
    left = leftovers(repo)
    rmdir = os.rmdir

    def refuse(path: str, **kwargs: int | None) -> None:
        if str(path).endswith(tuple(left)):
            raise PermissionError(13, "Permission denied", path)
        rmdir(path, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        await log(repo, "one")
    assert leftovers(repo) == left
    assert sorted(record.args[0] for record in caplog.records if record.args) == sorted(
        str(repo / name) for name in left
    )
    await log(repo, "one")
    assert_nothing_lost(repo)


@on_asyncio
async def test_no_session_is_treated_as_dead_with_hardlink_lock(repo: Path) -> None:
    write(repo, {"one": "1"})
    with staged(repo, "one") as process:
        process.kill()
    left = leftovers(repo)
    write(repo, {".dvc/config": "[core]\n    hardlink_lock = true\n"})
    await log(repo, "one")
    assert leftovers(repo) == left
    write(repo, {".dvc/config": ""})
    await log(repo, "one")
    assert_nothing_lost(repo)


@on_asyncio
async def test_temp_files_are_created_where_a_rename_into_the_workspace_works(repo: Path) -> None:
    """DVC's directory for temp files is on another disk."""
    if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == repo.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    write(repo, {"one": "1"})
    with tempfile.TemporaryDirectory(prefix="asynclive-tests-", dir="/dev/shm") as other_disk:
        (repo / ".dvc" / "tmp").symlink_to(other_disk)
        with staged(repo, "one") as process:
            assert "asynclive" not in git(repo, "status", "--porcelain", "-uall")
            process.kill()
        assert len(leftovers(repo)) == 2
        await log(repo, "one")
        assert_nothing_lost(repo)
        assert leftovers(Path(other_disk)) == []
    assert (repo / "dvclive" / "artifacts" / "one").read_text() == "1"


# --- Swaps in three renames -------------------------------------------------------------------


def log_and_die(repo: Path, number: int, way: str) -> None:
    with running(SWAP, str(number), "model", way, cwd=repo) as process:
        assert process.line() == ""  # the process has ended
        assert process.status == -signal.SIGKILL


@on_asyncio
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_kill_at_any_step_of_a_swap_leaves_the_old_copy_or_the_new_one(
    repo: Path, number: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, copy = repo / "model", repo / "dvclive" / "artifacts" / "model"
    if kind == "file":
        source.write_bytes(b"old")
        await log(repo, "model", desc="old")
        source.write_bytes(b"new")
    else:
        write(repo, {"model/a": "old", "model/stale": "old"})
        await log(repo, "model", desc="old")
        (source / "stale").unlink()
        write(repo, {"model/a": "new", "model/below/b": "new"})
    old, new = content(copy), content(source)
    assert old != new
    log_and_die(repo, number, "copy")
    assert len(leftovers(repo)) == 2
    assert copy.exists() == (number != 2)
    async with AsyncLive(root=repo):
        assert_one_of(copy, new if number == 3 else old)
        assert (f"Restored '{copy}'" in caplog.text) == (number == 2)
    assert_nothing_lost(repo)
    await log(repo, "model")
    assert_one_of(copy, new)
    assert_nothing_lost(repo)


@on_asyncio
async def test_recovery_keeps_a_copy_that_was_written_after_the_kill(repo: Path) -> None:
    copy = repo / "dvclive" / "artifacts" / "model"
    write(repo, {"model": "old"})
    await log(repo, "model", desc="old")
    write(repo, {"model": "new"})
    log_and_die(repo, 2, "copy")
    copy.write_text("mine")
    async with AsyncLive(root=repo):
        assert copy.read_text() == "mine"
    assert_nothing_lost(repo)


@on_asyncio
@pytest.mark.parametrize(
    ("link", "number"), [("hardlink", 2), ("hardlink", 4), ("symlink", 5), ("symlink", 9)]
)
async def test_a_kill_while_files_become_links_in_place_loses_none_of_them(
    repo: Path, link: str, number: int
) -> None:
    """A swap takes three renames for each of the three files."""
    write(repo, {".dvc/config": f"[cache]\n    type = {link}\n"})
    write(repo, {"model/a": "a", "model/b": "b", "model/c": "c"})
    before = content(repo / "model")
    log_and_die(repo, number, "in place")
    assert len(leftovers(repo)) == 2
    async with AsyncLive(root=repo) as live:
        assert content(repo / "model") == before
        await live.log_artifact("model")
    assert content(repo / "model") == before
    assert_nothing_lost(repo)


@on_asyncio
async def test_a_mount_point_that_was_being_written_gets_its_old_bytes_back(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"model": "model"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model", desc="a long description" * 100)
    before = (repo / "dvc.yaml").read_bytes()
    killed = subprocess.run([sys.executable, "-c", IN_PLACE, repo], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (repo / "dvc.yaml").read_bytes() != before
    async with AsyncLive(root=repo):
        assert (repo / "dvc.yaml").read_bytes() == before
    assert "Restored" in caplog.text
    assert leftovers(repo) == []
    assert_sound(repo)
