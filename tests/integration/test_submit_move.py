"""Submit files with ``move=True``: their paths are free at once, and no file is lost."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from backends import on_asyncio
from cancelling import settled
from disk import leftovers, md5, objects
from gate import gate_at, locked
from twin import dvc

import asynclive._stage.source
from asynclive import (
    ArtifactCancelledError,
    ArtifactPathError,
    AsyncLive,
    LockTimeoutError,
)

pytestmark = pytest.mark.anyio

LARGE = 2**21


@on_asyncio
@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize("kind", ["small", "large", "directory"])
async def test_a_moved_path_is_free_at_once_and_ends_as_dvc_add_leaves_it(
    repo: Path, link: str, kind: str
) -> None:
    dvc(repo, "config", "cache.type", link)
    for name in ("moved", "added"):
        path = repo / name
        if kind == "directory":
            path.mkdir()
            (path / "large").write_bytes(b"l" * LARGE)
            (path / "small").write_text("small")
            path = path / "run.sh"
        path.write_bytes(b"x" * (LARGE if kind == "large" else 5))
        path.chmod(0o755)
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handle = await live.submit("moved", move=True)
            assert not (repo / "moved").exists()
            gate.open()
            logged = await handle
        added = await live.log_artifact("added")
    assert (logged.md5, logged.size, logged.nfiles) == (added.md5, added.size, added.nfiles)
    seen = {
        name: [
            (str(path.relative_to(repo / name)), path.lstat().st_mode, path.stat().st_nlink)
            for path in [repo / name, *sorted((repo / name).rglob("*"))]
        ]
        for name in ("moved", "added")
    }
    assert seen["moved"] == seen["added"]
    assert "up to date" in dvc(repo, "status")
    assert leftovers(repo) == []


async def test_move_with_copy_leaves_only_the_copy(repo: Path) -> None:
    (repo / "model.pt").write_bytes(b"x" * LARGE)
    async with AsyncLive(root=repo) as live:
        logged = await (await live.submit("model.pt", copy=True, move=True))
    assert not (repo / "model.pt").exists()
    assert logged.path.read_bytes() == b"x" * LARGE
    assert leftovers(repo) == []


async def test_a_loop_that_moves_logs_every_checkpoint(repo: Path) -> None:
    path, handles = repo / "model.ckpt", []
    async with AsyncLive(root=repo) as live:
        for step in range(25):
            path.write_bytes(b"%d " % step * 2**19)
            handles.append(await live.submit("model.ckpt", move=True))
        logged = [await handle for handle in handles]
    assert [one.md5 for one in logged] == [
        hashlib.md5(b"%d " % step * 2**19).hexdigest() for step in range(25)
    ]
    assert set(objects(repo)) == {one.md5 for one in logged}
    assert path.read_bytes() == b"24 " * 2**19
    assert "up to date" in dvc(repo, "status")
    assert leftovers(repo) == []


@on_asyncio
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("how", ["cancelled", "failed", "left by an exception"])
@pytest.mark.parametrize("newer", [False, True])
async def test_a_moved_source_that_is_not_logged_is_restored(
    repo: Path, kind: str, how: str, newer: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = repo / "model"
    if kind == "file":
        path.write_text("older")
    else:
        path.mkdir()
        (path / "part").write_text("older")
    inode = path.stat().st_ino
    with locked(repo):
        try:
            async with AsyncLive(root=repo, lock_timeout=0 if how == "failed" else None) as live:
                handle = await live.submit("model", move=True)
                if newer:
                    path.write_text("newer")
                if how == "left by an exception":
                    raise KeyError
                if how == "cancelled":
                    handle.cancel()
                error = ArtifactCancelledError if how == "cancelled" else LockTimeoutError
                with pytest.raises(error):
                    await handle
        except KeyError:
            pass
    back = repo / "model.unlogged" if newer else path
    assert back.stat().st_ino == inode
    assert (back if kind == "file" else back / "part").read_text() == "older"
    assert ("model.unlogged" in caplog.text) == newer
    assert not newer or path.read_text() == "newer"
    assert not (repo / "model.dvc").exists()
    assert leftovers(repo) == []


async def test_newer_bytes_at_the_path_stay(repo: Path) -> None:
    path = repo / "model"
    path.write_text("older")
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handle = await live.submit("model", move=True)
            path.write_text("newer")
            gate.open()
            assert (await handle).md5 == md5("older")
    assert path.read_text() == "newer"
    assert objects(repo)[md5("older")] == b"older"
    assert leftovers(repo) == []


async def test_a_link_is_not_moved(repo: Path) -> None:
    (repo / "file").write_text("text")
    (repo / "link").symlink_to("file")
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactPathError, match="symbolic link, which cannot be moved"):
            await live.submit("link", move=True)
    assert os.readlink(repo / "link") == "file"


async def test_a_moved_directory_keeps_its_relative_links(repo: Path) -> None:
    (repo / "shared").write_text("shared")
    data = repo / "data"
    data.mkdir()
    (data / "link").symlink_to("../shared")
    async with AsyncLive(root=repo) as live:
        handle = await live.submit("data", move=True)
        assert not data.exists()
        await handle
    assert (data / "link").read_text() == "shared"
    assert "up to date" in dvc(repo, "status")


async def test_a_copy_of_a_moved_directory_follows_its_links(repo: Path) -> None:
    (repo / "shared").mkdir()
    (repo / "shared" / "part").write_text("part")
    (repo / "data").mkdir()
    (repo / "data" / "link").symlink_to("../shared")
    async with AsyncLive(root=repo) as live:
        logged = await (await live.submit("data", copy=True, move=True))
    assert (logged.path / "link" / "part").read_text() == "part"
    assert not (repo / "data").exists()
    assert leftovers(repo) == []


async def test_a_moved_directory_is_free_before_it_is_scanned(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = repo / "data"
    data.mkdir()
    (data / "file").write_text("older")
    async with AsyncLive(root=repo) as live:
        plan = gate_at(monkeypatch, asynclive._stage.source, "make_plan")
        handle = await live.submit("data", move=True)
        assert not data.exists()
        data.mkdir()
        (data / "file").write_text("newer")
        plan.open()
        logged = await handle
    assert objects(repo)[md5("older")] == b"older"
    assert (data / "file").read_text() == "newer"
    assert logged.nfiles == 1
    assert leftovers(repo) == []


async def test_errors_name_files_of_a_moved_directory_by_their_old_path(repo: Path) -> None:
    data = repo / "data"
    for name, make in {
        "pipe": os.mkfifo,
        "dangling": lambda path: os.symlink("nowhere", path),
        ".dvcignore": lambda path: path.touch(),
    }.items():
        data.mkdir()
        make(data / name)
        async with AsyncLive(root=repo) as live:
            handle = await live.submit("data", move=True)
            with pytest.raises(ArtifactPathError, match=f"'{data / name}'"):
                await handle
        assert os.listdir(data) == [name]
        (data / name).unlink()
        data.rmdir()
        assert leftovers(repo) == []


@pytest.mark.parametrize("kind", ["missing", "pipe", "into itself"])
async def test_a_source_that_cannot_be_logged_is_not_moved(repo: Path, kind: str) -> None:
    path = repo / "dvclive" if kind == "into itself" else repo / "data"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "into itself":
        path.mkdir()
    before = path.lstat() if path.exists() else None
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactPathError):
            await live.submit(path.name, move=True, copy=kind == "into itself")
    assert (path.lstat() if path.exists() else None) == before
    assert leftovers(repo) == []


async def test_moved_directories_are_free_at_once_and_wait_for_room_later(repo: Path) -> None:
    for name in "abc":
        (repo / name).mkdir()
        (repo / name / "file").write_bytes(name.encode() * 3)
    async with AsyncLive(root=repo, max_pending_bytes=5) as live:
        with locked(repo) as gate:
            first = await live.submit("a", move=True)
            second = await live.submit("b", move=True, wait=False)
            assert not (repo / "b").exists()
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(live.submit, "c")
                gate.open()
            assert [(await first).size, (await second).size] == [3, 3]
    assert (repo / "c.dvc").exists()
    assert leftovers(repo) == []


async def test_the_newest_moved_source_wins(repo: Path) -> None:
    path = repo / "best"
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handles = []
            for step in range(4):
                path.write_text(f"{step}")
                handles.append(await live.submit("best", move=True, latest_wins=True))
            await settled()
            gate.open()
            assert [(await one).md5 for one in handles] == [md5("0"), *[md5("3")] * 3]
    assert path.read_text() == "3"
    assert os.listdir(repo).count("best.unlogged") == 0


_KILLED = """
import anyio, sys
from asynclive import AsyncLive
async def main():
    async with AsyncLive(root=sys.argv[1]) as live:
        for name in ("file", "directory", "taken"):
            await live.submit(name, move=True)
        print("moved", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


async def test_the_next_session_restores_the_sources_of_a_killed_one(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "file").write_text("file")
    (repo / "taken").write_text("older")
    (repo / "directory").mkdir()
    (repo / "directory" / "part").write_text("part")
    with locked(repo):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(repo)], stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"moved\n"
            assert not (repo / "file").exists()
            process.send_signal(signal.SIGKILL)
    (repo / "taken").write_text("newer")
    async with AsyncLive(root=repo):
        await anyio.lowlevel.checkpoint()
    assert (repo / "file").read_text() == "file"
    assert (repo / "directory" / "part").read_text() == "part"
    assert (repo / "taken").read_text() == "newer"
    assert (repo / "taken.unlogged").read_text() == "older"
    assert caplog.text.count("its session ended before the artifact was logged") == 3
    assert leftovers(repo) == []
