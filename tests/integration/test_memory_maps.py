"""Log bytes that were changed through a memory map, which may leave the mtime as it is."""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backends import Isolation, in_both
from disk import objects

from asynclive import AsyncLive, LoggedArtifact
from asynclive._cli.main import run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has leases"),
]


@pytest.fixture
def anyio_backend() -> str:
    """Use asyncio: nothing here depends on the loop."""
    return "asyncio"


SIZES = {"large": 4_000_000, "data/large": 4_000_000, "data/small": 100_000}
# The artifact, and whether a copy of it is logged.
ARTIFACTS = [("large", False), ("large", True), ("data", False), ("data", True)]


class Maps:
    """The files of ``SIZES``, mapped into memory for writing."""

    def __init__(self, repo: Path) -> None:
        self._paths = [repo / name for name in SIZES]
        self._maps = []
        for path, size in zip(self._paths, SIZES.values(), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(size))
            with path.open("r+b") as file:
                self._maps.append(mmap.mmap(file.fileno(), size))
        self.write(b"0")  # the first write changes the mtime
        for path in self._paths:  # the stamp of a young file is not trusted
            os.utime(path, (1_000_000_000.5, 1_000_000_000.5))
        self._mtimes = self._find_mtimes()

    def write(self, letter: bytes) -> None:
        """Write through the maps."""
        for each in self._maps:
            each[:4096] = letter * 4096

    def _find_mtimes(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._paths]

    def were_written_back(self) -> bool:
        """Return whether the system has written the pages back, so that a write changes mtimes."""
        return self._find_mtimes() != self._mtimes

    def close(self) -> None:
        for each in self._maps:
            each.close()


@contextmanager
def mapped(repo: Path) -> Iterator[Maps]:
    maps = Maps(repo)
    try:
        yield maps
    finally:
        maps.close()


def first_bytes(repo: Path, logged: LoggedArtifact) -> set[bytes]:
    """Return the first byte of each object of an artifact."""
    stored = objects(repo)
    assert logged.md5 is not None
    data = stored[logged.md5]
    if not logged.md5.endswith(".dir"):
        return {data[:1]}
    return {stored[each["md5"]][:1] for each in json.loads(data)}


@in_both
async def test_bytes_written_through_a_map_are_logged(repo: Path, isolation: Isolation) -> None:
    with mapped(repo) as maps:
        async with AsyncLive(root=repo, isolation=isolation) as live:
            for letter in (b"A", b"B", b"C"):
                maps.write(letter)
                if letter == b"C":
                    maps.close()
                for path, copy in ARTIFACTS:
                    logged = await live.log_artifact(path, copy=copy)
                    assert first_bytes(repo, logged) == {letter}, (path, copy)


Log = Callable[[AsyncLive, str, bool], Awaitable[LoggedArtifact]]


async def log_artifact(live: AsyncLive, path: str, copy: bool) -> LoggedArtifact:
    return await live.log_artifact(path, copy=copy, reread=True)


async def submit(live: AsyncLive, path: str, copy: bool) -> LoggedArtifact:
    return await (await live.submit(path, copy=copy, reread=True))


@pytest.fixture
def unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find no writers, as on a network file system. A file of any age is trusted."""
    monkeypatch.setattr("asynclive._cache.hash_cache._TICK_NS", 0)
    for module in ("small_files", "copy_and_hash"):
        monkeypatch.setattr(f"asynclive._ingest.{module}.has_writer", lambda fd: False)


@pytest.mark.usefixtures("unnoticed")
@pytest.mark.parametrize("log", [log_artifact, submit])
async def test_reread_trusts_no_stamp(repo: Path, log: Log) -> None:
    with mapped(repo) as maps:
        async with AsyncLive(root=repo) as live:
            for letter in (b"A", b"B", b"C"):
                maps.write(letter)
                for path, copy in [*ARTIFACTS, ("data/large", False)]:
                    if letter == b"B" and path == "large":
                        stale = await live.log_artifact(path, copy=copy)
                        assert first_bytes(repo, stale) == {b"A"} or maps.were_written_back()
                    logged = await log(live, path, copy)
                    assert first_bytes(repo, logged) == {letter}, (path, copy)


@pytest.mark.usefixtures("unnoticed")
def test_blocking_code_and_the_command_reread_too(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    with mapped(repo) as maps, AsyncLive.blocking(root=repo) as live:
        for letter in (b"A", b"B"):
            maps.write(letter)
            for path in ("large", "data"):
                assert first_bytes(repo, live.log_artifact(path, reread=True)) == {letter}
                handle = live.submit(path, reread=True)
                assert first_bytes(repo, handle.result()) == {letter}
        maps.write(b"C")
        assert run(["log", "--reread", "--no-progress", "large"]) == 0
        assert b"C" in {data[:1] for data in objects(repo).values()}
