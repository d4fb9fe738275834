"""Read and copy only files that changed since they were logged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from twin import git

import asynclive._ingest.copy_and_hash
from asynclive import AsyncLive, AsyncLiveStatistics, LoggedArtifact

pytestmark = [pytest.mark.anyio, on_asyncio]

in_both_ways = pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
of_both_kinds = pytest.mark.parametrize("isdir", [False, True], ids=["file", "directory"])


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust young mtimes: the tests log files right after they write them."""
    monkeypatch.setattr("asynclive._cache.hash_cache._TICK_NS", 0)


def make_source(repo: Path, tmp_path: Path, *, copy: bool, isdir: bool) -> Path:
    source = (tmp_path / "elsewhere" if copy else repo) / "data"
    source.parent.mkdir(exist_ok=True)
    if not isdir:
        source.write_bytes(os.urandom(2**21))
        return source
    for name, size in (("large", 2**21), ("a/one", 1000), ("a/two", 2000), ("b/empty", 0)):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    (source / "a/one").chmod(0o755)
    return source


@contextmanager
def files_opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Collect the files of artifacts that are opened in the block."""
    opened: set[str] = set()
    real_open = os.open

    def noted(path: str, *args: Any, **kwargs: Any) -> int:
        opened.add(os.fspath(path))
        return real_open(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", noted)
        yield opened


async def log(repo: Path, source: Path, *, copy: bool) -> LoggedArtifact:
    async with AsyncLive(root=repo) as live:
        return await live.log_artifact(source, type="dataset", copy=copy)


async def statistics_of(repo: Path, source: Path, *, copy: bool) -> AsyncLiveStatistics:
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(source, type="dataset", copy=copy)
    return live.statistics()


def inodes(path: Path) -> dict[str, int]:
    return {
        str(below.relative_to(path.parent)): below.stat().st_ino
        for below in (path, *path.rglob("*"))
    }


@in_both_ways
@of_both_kinds
async def test_an_unchanged_artifact_is_not_read_and_its_copy_stays(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: bool, isdir: bool
) -> None:
    source = make_source(repo, tmp_path, copy=copy, isdir=isdir)
    first = await log(repo, source, copy=copy)
    before = inodes(first.path)
    with files_opened(monkeypatch) as opened:
        assert await log(repo, source, copy=copy) == first
    assert not [
        path
        for path in map(Path, opened)
        if not path.name.startswith(".")
        and (path.is_relative_to(source) or path.is_relative_to(first.path))
    ]
    assert inodes(first.path) == before


@in_both_ways
@of_both_kinds
async def test_files_that_are_not_read_are_counted_as_unchanged(
    repo: Path, tmp_path: Path, copy: bool, isdir: bool
) -> None:
    source = make_source(repo, tmp_path, copy=copy, isdir=isdir)
    files, total = (4, 2**21 + 3000) if isdir else (1, 2**21)
    for unchanged in (False, True):
        seen = await statistics_of(repo, source, copy=copy)
        expected = (0, 0, files, total) if unchanged else (files, total, 0, 0)
        assert expected == (
            seen.files_staged,
            seen.bytes_staged,
            seen.files_unchanged,
            seen.bytes_unchanged,
        )


@in_both_ways
@of_both_kinds
async def test_a_file_written_in_this_tick_is_read_again(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: bool, isdir: bool
) -> None:
    # A write within the same tick of the clock would not change the mtime.
    monkeypatch.setattr("asynclive._cache.hash_cache._TICK_NS", 3600 * 10**9)
    source = make_source(repo, tmp_path, copy=copy, isdir=isdir)
    first = await log(repo, source, copy=copy)
    with files_opened(monkeypatch) as opened:
        assert await log(repo, source, copy=copy) == first
    assert {path for path in opened if path.startswith(str(source))}


def write_alike(path: Path) -> None:
    """Write other bytes of the same number, and restore the mtime."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def replace(path: Path) -> None:
    found = path.stat()
    new = path.with_name("new")
    new.write_bytes(bytes(found.st_size))
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))
    new.replace(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [write_alike, replace, append])
@in_both_ways
@of_both_kinds
async def test_a_changed_file_is_found_with_any_mtime(
    repo: Path, tmp_path: Path, change: Callable[[Path], None], copy: bool, isdir: bool
) -> None:
    source = make_source(repo, tmp_path, copy=copy, isdir=isdir)
    first = await log(repo, source, copy=copy)
    changed = source / "a/two" if isdir else source
    change(changed)
    again = await log(repo, source, copy=copy)
    assert again.md5 != first.md5
    assert (again.path / "a/two" if isdir else again.path).read_bytes() == changed.read_bytes()
    assert again == await log(repo, source, copy=copy)


def rewrite_large(copy: Path) -> None:
    (copy / "large").write_bytes(b"mine")


def remove_one(copy: Path) -> None:
    (copy / "a/one").unlink()


def add_one(copy: Path) -> None:
    (copy / "b/more").write_bytes(b"more")


def add_one_and_hide_it(copy: Path) -> None:
    found = (copy / "b").stat()
    (copy / "b/more").write_bytes(b"more")
    os.utime(copy / "b", ns=(found.st_atime_ns, found.st_mtime_ns))


def change_mode(copy: Path) -> None:
    (copy / "a/two").chmod(0o600)


def change_mode_of_directory(copy: Path) -> None:
    (copy / "a").chmod(0o700)


def link_one(copy: Path) -> None:
    target = copy.parent / "target"
    (copy / "a/two").rename(target)
    (copy / "a/two").symlink_to(target)


def remove_directory(copy: Path) -> None:
    (copy / "b/empty").unlink()
    (copy / "b").rmdir()


@pytest.mark.parametrize(
    "change",
    [
        rewrite_large,
        remove_one,
        add_one,
        add_one_and_hide_it,
        change_mode,
        change_mode_of_directory,
        link_one,
        remove_directory,
    ],
)
async def test_a_copy_that_was_changed_is_made_again(
    repo: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    source = make_source(repo, tmp_path, copy=True, isdir=True)
    first = await log(repo, source, copy=True)
    change(first.path)
    assert await log(repo, source, copy=True) == first
    for below in (source, *source.rglob("*")):
        copied = first.path / below.relative_to(source)
        assert copied.lstat().st_mode == below.lstat().st_mode
        if below.is_file():
            assert copied.read_bytes() == below.read_bytes()
    assert len(list(first.path.rglob("*"))) == len(list(source.rglob("*")))


@in_both_ways
@of_both_kinds
@pytest.mark.parametrize("name", ["*", "*.dir"])
async def test_missing_objects_are_stored_again(
    repo: Path, tmp_path: Path, copy: bool, isdir: bool, name: str
) -> None:
    source = make_source(repo, tmp_path, copy=copy, isdir=isdir)
    first = await log(repo, source, copy=copy)
    cache = repo / ".dvc/cache/files/md5"
    before = sorted(cache.glob("*/*"))
    for path in cache.glob(f"*/{name}"):
        path.unlink()
    assert await log(repo, source, copy=copy) == first
    assert sorted(cache.glob("*/*")) == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.rpartition("{")[0],
        lambda text: "[]\n" * 3,
        lambda text: '{"version": 1}\n',
        lambda text: text.replace('"version": 1', '"version": 0'),
    ],
    ids=["empty", "cut", "no last line", "nothing in it", "not all", "another version"],
)
@in_both_ways
async def test_a_hash_cache_entry_that_cannot_be_read_is_ignored(
    repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[str], str],
    copy: bool,
) -> None:
    source = make_source(repo, tmp_path, copy=copy, isdir=True)
    first = await log(repo, source, copy=copy)
    (known,) = (repo / ".dvc/tmp/asynclive").iterdir()
    known.write_text(spoil(known.read_text()))
    with files_opened(monkeypatch) as opened:
        assert await log(repo, source, copy=copy) == first
    assert str(source / "a/one") in opened


async def test_another_source_for_the_same_copy_is_read(repo: Path, tmp_path: Path) -> None:
    source = make_source(repo, tmp_path, copy=True, isdir=True)
    first = await log(repo, source, copy=True)
    other = tmp_path / "other" / "data"
    other.mkdir(parents=True)
    (other / "large").write_bytes(os.urandom(2**21))
    second = await log(repo, other, copy=True)
    assert second.path == first.path
    assert second.md5 != first.md5
    assert (second.path / "large").read_bytes() == (other / "large").read_bytes()
    assert await log(repo, source, copy=True) == first


async def test_a_large_file_with_a_cached_hash_is_copied_and_not_hashed(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(repo, tmp_path, copy=True, isdir=True)
    first = await log(repo, source, copy=True)
    (first.path / "a/one").unlink()
    hashed: list[str] = []
    hash_step = asynclive._ingest.copy_and_hash.LargeFile._hash_step

    def noted(large: asynclive._ingest.copy_and_hash.LargeFile) -> bool:
        hashed.append(large.source)
        return hash_step(large)

    monkeypatch.setattr(asynclive._ingest.copy_and_hash.LargeFile, "_hash_step", noted)
    assert await log(repo, source, copy=True) == first
    assert hashed == []
    assert (first.path / "large").read_bytes() == (source / "large").read_bytes()


async def test_no_hash_is_cached_for_an_artifact_that_was_not_tracked(
    repo: Path, tmp_path: Path
) -> None:
    source = make_source(repo, tmp_path, copy=False, isdir=True)
    git(repo, "add", "data")
    with pytest.raises(Exception, match="tracked by Git"):
        await log(repo, source, copy=False)
    assert not (repo / ".dvc/tmp/asynclive").exists()


async def test_a_small_file_is_read_again_and_not_looked_up(repo: Path) -> None:
    (repo / "small").write_bytes(b"small")
    await log(repo, repo / "small", copy=False)
    assert not (repo / ".dvc/tmp/asynclive").exists()
