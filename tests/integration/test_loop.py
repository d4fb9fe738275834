"""Keep the central promise: asynclive never blocks the event loop."""

from __future__ import annotations

import builtins
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def no_blocking() -> Iterator[list[str]]:
    """Make file operations and sleeps fail in this thread, which runs the event loop.

    Yields the operations that failed. After the block they work again: pytest needs them to report
    a failure.
    """
    gc.collect()  # finalizers of earlier tests may remove files, in whatever thread runs them
    loop_thread = threading.get_ident()
    caught: list[str] = []

    def forbid(patch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        real = getattr(module, name)

        def checked(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == loop_thread:
                caught.append(f"{name}{args}")
                raise BlockingError(name)
            return real(*args, **kwargs)

        patch.setattr(module, name, checked)

    with pytest.MonkeyPatch.context() as patch:
        # Spans of another test's provider: its SDK reads the source files of a recorded exception.
        patch.delitem(sys.modules, "opentelemetry.trace", raising=False)
        for module, names in BLOCKING:
            for name in names:
                if hasattr(module, name):
                    forbid(patch, module, name)
        yield caught


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
    repo: Path, isolation: Isolation
) -> None:
    files, tree = make_artifacts(repo)
    with no_blocking() as caught:
        await log_all_kinds(repo, files, tree, isolation)
    assert caught == []


async def test_the_watch_sees_a_file_operation_in_the_loop(repo: Path) -> None:
    with no_blocking() as caught, pytest.raises(BlockingError):
        os.stat(repo)
    assert len(caught) == 1


@on_asyncio
@in_both
async def test_blockbuster_finds_nothing_that_blocks_asyncio(
    repo: Path, isolation: Isolation
) -> None:
    files, tree = make_artifacts(repo)
    with blockbuster_ctx("asynclive"):
        await log_all_kinds(repo, files, tree, isolation)
