"""Keep the central promise: asynclive never blocks the event loop."""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from blockbuster import BlockingError, blockbuster_ctx

from asynclive import AsyncLive

pytestmark = pytest.mark.anyio

BLOCKING = [
    (builtins, ("open",)),
    (time, ("sleep",)),
    (
        os,
        [
            "open",
            "read",
            "readv",
            "write",
            "pread",
            "pwrite",
            "stat",
            "lstat",
            "scandir",
            "listdir",
            "mkdir",
            "rmdir",
            "unlink",
            "rename",
            "replace",
            "link",
            "symlink",
            "chmod",
            "utime",
            "fsync",
            "copy_file_range",
            "sendfile",
        ],
    ),
]


@pytest.fixture
def no_blocking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Make file operations and sleeps fail in the thread of the event loop."""
    loop_thread = threading.get_ident()
    caught: list[str] = []

    def forbidden(module: Any, name: str) -> None:
        real = getattr(module, name)

        def checked(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == loop_thread and armed:
                caught.append(f"{name}{args}")
                raise BlockingError(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, checked)

    for module, names in BLOCKING:
        for name in names:
            if hasattr(module, name):
                forbidden(module, name)
    armed = True
    yield caught
    armed = False


async def log_all_kinds(repo: Path, files: list[Path], tree: Path, isolation: Isolation) -> None:
    async with AsyncLive(root=repo, isolation=isolation) as live:
        async with anyio.create_task_group() as task_group:
            for path in files:
                task_group.start_soon(live.log_artifact, path, "model")
            task_group.start_soon(lambda: live.log_artifact(tree, copy=True, name="tree"))
        await live.log_artifact(tree, copy=True, name="tree")
        await live.log_artifact(files[0], "model", cache=False)
        with pytest.raises(FileNotFoundError):
            await live.log_artifact(repo / "missing")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await live.log_artifact(files[1])


def make_artifacts(repo: Path) -> tuple[list[Path], Path]:
    files = [repo / f"{number}.bin" for number in range(4)]
    for size, path in enumerate(files):
        path.write_bytes(os.urandom(size * 2**20 + 1))
    tree = repo / "tree"
    tree.mkdir()
    for number in range(70):
        (tree / f"{number}.txt").write_text(str(number))
    return files, tree


@in_both
async def test_no_file_operation_runs_in_the_thread_of_the_loop(
    repo: Path, request: pytest.FixtureRequest, isolation: Isolation
) -> None:
    files, tree = make_artifacts(repo)
    caught = request.getfixturevalue("no_blocking")
    await log_all_kinds(repo, files, tree, isolation)
    assert caught == []


async def test_the_watch_sees_a_file_operation_in_the_loop(
    repo: Path, request: pytest.FixtureRequest
) -> None:
    caught = request.getfixturevalue("no_blocking")
    with pytest.raises(BlockingError):
        os.stat(repo)
    assert len(caught) == 1
    caught.clear()


@on_asyncio
@in_both
async def test_blockbuster_finds_nothing_that_blocks_asyncio(
    repo: Path, isolation: Isolation
) -> None:
    files, tree = make_artifacts(repo)
    with blockbuster_ctx("asynclive"):
        await log_all_kinds(repo, files, tree, isolation)
