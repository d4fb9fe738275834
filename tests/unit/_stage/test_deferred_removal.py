"""What is removed at once, what later, and that nothing is forgotten."""

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
    """Keeps what is to be done later until it is told to."""

    def __init__(self) -> None:
        self.waits: list[Any] = []

    async def do(self) -> None:
        async with anyio.create_task_group() as tasks:
            while self.waits:
                tasks.start_soon(self.waits.pop())


@asynccontextmanager
async def trash() -> AsyncIterator[tuple[DeferredRemoval, Later]]:
    later = Later()
    yield DeferredRemoval(FileWorkers(2), later.waits.append), later
    await later.do()


def make(base: Path, *names: str) -> list[str]:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return [str(base / name.split("/")[0]) for name in names]


async def test_a_large_file_loses_its_name_at_once_and_is_closed_later(tmp_path: Path) -> None:
    async with trash() as (bin, later):
        before = open_files()
        await bin.remove_soon([*make(tmp_path, "a", "b"), str(tmp_path / "none")], *LONG)
        assert list(tmp_path.iterdir()) == []
        assert open_files() == before + 2
        await later.do()
        assert open_files() == before
        await bin.emptied()


async def test_a_large_directory_is_removed_later(tmp_path: Path) -> None:
    async with trash() as (bin, later):
        before = open_files()
        await bin.remove_soon(make(tmp_path, "dir/a"), *LONG)
        assert open_files() == before
        assert (tmp_path / "dir" / "a").exists()
        await later.do()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(QUICK_BYTES, QUICK_FILES), (0, 0)])
async def test_what_is_removed_quickly_is_removed_at_once(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with trash() as (bin, later):
        await bin.remove_soon(make(tmp_path, "dir/a", "b"), *size)
        assert list(tmp_path.iterdir()) == []
        assert later.waits == []


async def test_without_anybody_who_does_it_later_it_is_done_at_once(tmp_path: Path) -> None:
    await DeferredRemoval(FileWorkers(1)).remove_soon(make(tmp_path, "dir/a", "b"), *LONG)
    assert list(tmp_path.iterdir()) == []


async def test_of_many_files_few_are_kept_open(tmp_path: Path) -> None:
    async with trash() as (bin, later):
        before = open_files()
        await bin.remove_soon(make(tmp_path, *map(str, range(100))), 0, QUICK_FILES + 1)
        assert open_files() == before + 8
        await later.do()
        assert list(tmp_path.iterdir()) == []
        assert open_files() == before


@pytest.mark.parametrize("name", ["open", "unlink"])
async def test_what_cannot_lose_its_name_at_once_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # No descriptor is free; or on Windows, where an open file keeps its name.
    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE if name == "open" else errno.EACCES, "refused")

    async with trash() as (bin, later):
        before = open_files()
        paths = make(tmp_path, "a")
        with monkeypatch.context() as patched:
            patched.setattr(deferred_removal.os, name, refused)
            await bin.remove_soon(paths, *LONG)
        assert open_files() == before
        await later.do()
        assert list(tmp_path.iterdir()) == []


async def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "link").symlink_to("target")
    async with trash() as (bin, _):
        await bin.remove_soon([str(tmp_path / "link")], *LONG)
    assert (tmp_path / "target").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["target"]


async def test_it_is_empty_once_all_was_done(tmp_path: Path) -> None:
    happened: list[str] = []

    async def wait(bin: DeferredRemoval) -> None:
        await bin.emptied()
        happened.append("emptied")

    async with trash() as (bin, later), anyio.create_task_group() as tasks:
        await wait(bin)
        for name in ("a", "b"):
            await bin.remove_soon(make(tmp_path, name), *LONG)
        tasks.start_soon(wait, bin)
        await anyio.wait_all_tasks_blocked()
        assert happened == ["emptied"]
        await later.waits.pop()()
        await anyio.wait_all_tasks_blocked()
        assert happened == ["emptied"]
        await later.do()
    assert happened == ["emptied", "emptied"]


def open_files() -> int:
    """How many descriptors of regular files the process has."""
    count = 0
    for fd in range(256):
        try:
            count += os.path.isfile(fd)
        except OSError:
            continue
    return count
