"""DeferredRemoval: which files are removed at once, which later, and that all are removed."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from cancelling import on_every_loop

from asynclive._stage import deferred_removal
from asynclive._stage.deferred_removal import QUICK_BYTES, QUICK_FILES, DeferredRemoval
from asynclive._workers.file_workers import FileWorkers

pytestmark = [pytest.mark.anyio, on_every_loop]

LONG = (QUICK_BYTES + 1, 1)


class Later:
    """Keeps the tasks that are started until the test runs them."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    async def run(self) -> None:
        async with anyio.create_task_group() as task_group:
            while self.tasks:
                task_group.start_soon(self.tasks.pop())


@asynccontextmanager
async def removal_and_tasks() -> AsyncIterator[tuple[DeferredRemoval, Later]]:
    later = Later()
    yield DeferredRemoval(FileWorkers(2), later.tasks.append), later
    await later.run()


def make(base: Path, *names: str) -> list[str]:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return [str(base / name.split("/")[0]) for name in names]


async def test_a_large_file_loses_its_name_at_once_and_is_closed_later(tmp_path: Path) -> None:
    async with removal_and_tasks() as (removal, later):
        before = open_files()
        await removal.remove_later([*make(tmp_path, "a", "b"), str(tmp_path / "none")], *LONG)
        assert list(tmp_path.iterdir()) == []
        assert open_files() == before + 2
        await later.run()
        assert open_files() == before
        await removal.wait_until_empty()


async def test_a_large_directory_is_removed_later(tmp_path: Path) -> None:
    async with removal_and_tasks() as (removal, later):
        before = open_files()
        await removal.remove_later(make(tmp_path, "dir/a"), *LONG)
        assert open_files() == before
        assert (tmp_path / "dir" / "a").exists()
        await later.run()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(QUICK_BYTES, QUICK_FILES), (0, 0)])
async def test_small_files_are_removed_at_once(tmp_path: Path, size: tuple[int, int]) -> None:
    async with removal_and_tasks() as (removal, later):
        await removal.remove_later(make(tmp_path, "dir/a", "b"), *size)
        assert list(tmp_path.iterdir()) == []
        assert later.tasks == []


async def test_without_a_way_to_start_tasks_files_are_removed_at_once(tmp_path: Path) -> None:
    await DeferredRemoval(FileWorkers(1)).remove_later(make(tmp_path, "dir/a", "b"), *LONG)
    assert list(tmp_path.iterdir()) == []


async def test_only_a_few_of_many_files_are_kept_open(tmp_path: Path) -> None:
    async with removal_and_tasks() as (removal, later):
        before = open_files()
        await removal.remove_later(make(tmp_path, *map(str, range(100))), 0, QUICK_FILES + 1)
        assert open_files() == before + 8
        await later.run()
        assert list(tmp_path.iterdir()) == []
        assert open_files() == before


@pytest.mark.parametrize("name", ["open", "unlink"])
async def test_a_file_that_cannot_be_opened_or_unlinked_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # open: the process has no descriptor free. unlink: Windows, where an open file keeps its name.
    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE if name == "open" else errno.EACCES, "refused")

    async with removal_and_tasks() as (removal, later):
        before = open_files()
        paths = make(tmp_path, "a")
        with monkeypatch.context() as patched:
            patched.setattr(deferred_removal.os, name, refused)
            await removal.remove_later(paths, *LONG)
        assert open_files() == before
        await later.run()
        assert list(tmp_path.iterdir()) == []


async def test_the_target_of_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "link").symlink_to("target")
    async with removal_and_tasks() as (removal, _):
        await removal.remove_later([str(tmp_path / "link")], *LONG)
    assert (tmp_path / "target").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["target"]


async def test_it_is_empty_once_all_removals_are_done(tmp_path: Path) -> None:
    happened: list[str] = []

    async def wait(removal: DeferredRemoval) -> None:
        await removal.wait_until_empty()
        happened.append("empty")

    async with removal_and_tasks() as (removal, later), anyio.create_task_group() as tasks:
        await wait(removal)
        for name in ("a", "b"):
            await removal.remove_later(make(tmp_path, name), *LONG)
        tasks.start_soon(wait, removal)
        await anyio.wait_all_tasks_blocked()
        assert happened == ["empty"]
        await later.tasks.pop()()
        await anyio.wait_all_tasks_blocked()
        assert happened == ["empty"]
        await later.run()
    assert happened == ["empty", "empty"]


def open_files() -> int:
    """Return the number of descriptors of regular files that the process has."""
    count = 0
    for fd in range(256):
        try:
            count += os.path.isfile(fd)
        except OSError:
            continue
    return count
