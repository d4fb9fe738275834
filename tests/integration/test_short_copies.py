"""Log whole files where the system copies, reads and writes fewer bytes than it was asked for."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import objects

from asynclive import AsyncLive

pytestmark = [pytest.mark.anyio, on_asyncio, pytest.mark.usefixtures("nothing_left_behind")]

SMALL, LARGE = os.urandom(5_000), os.urandom(5_000_000)


def copy_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "copy_file_range", lambda *args: 0, raising=False)


def copy_once(patch: pytest.MonkeyPatch) -> None:
    real, calls = os.copy_file_range, itertools.count()

    def copy_first_time(source: int, target: int, count: int, *offsets: int) -> int:
        return 0 if next(calls) % 3 else real(source, target, min(count, 1000), *offsets)

    patch.setattr(os, "copy_file_range", copy_first_time)


def copy_read_and_write_few(patch: pytest.MonkeyPatch) -> None:
    """Take at most some thousand bytes in each call of any kind."""
    patch.setattr(os, "copy_file_range", lambda *args: 0, raising=False)
    read, write, preadv = os.read, os.write, os.preadv

    def read_few(fd: int, count: int) -> bytes:
        return read(fd, min(count, 4000))

    def write_few(fd: int, data: bytes) -> int:
        return write(fd, memoryview(data)[:3000])

    def preadv_few(fd: int, buffers: list[memoryview], offset: int) -> int:
        return preadv(fd, [buffers[0][:70_000]], offset)

    patch.setattr(os, "read", read_few)
    patch.setattr(os, "write", write_few)
    patch.setattr(os, "preadv", preadv_few)


@pytest.mark.parametrize("fault", [copy_nothing, copy_once, copy_read_and_write_few])
async def test_a_short_copy_is_completed_or_the_call_fails(
    repo: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    sources = {"small": SMALL, "large": LARGE, "linked-small": SMALL[1:], "linked-large": LARGE[1:]}
    for name, data in sources.items():
        (repo / name).write_bytes(data)
        if name.startswith("linked"):  # DVC makes such a file anew from its object
            os.link(repo / name, repo / f"{name}-other")
    (repo / "data").mkdir()
    for name, data in sources.items():
        (repo / "data" / name).write_bytes(data[2:])
    os.symlink(repo / "large", repo / "data/link")
    async with AsyncLive(root=repo) as live:
        fault(monkeypatch)
        for name, data in sources.items():
            for copy in (False, True):
                logged = await live.log_artifact(name, copy=copy)
                assert logged.path.read_bytes() == data
                assert logged.md5 == hashlib.md5(data).hexdigest()
            handle = await live.submit(name, copy="submitted")
            assert (await handle).path.read_bytes() == data
        for copy in (False, True):
            logged = await live.log_artifact("data", copy=copy)
            for name, data in sources.items():
                assert (logged.path / name).read_bytes() == data[2:]
            assert (logged.path / "link").read_bytes() == LARGE
        monkeypatch.undo()
    objects(repo)  # checks that each one is whole
