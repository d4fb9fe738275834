"""Log files with holes: they take no more space in the cache than in the workspace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import Isolation, in_both, on_asyncio
from disk import objects
from twin import Templates

from asynclive import AsyncLive, StorageError
from asynclive._fs.kernel_copy import has_holes, taken_bytes
from perf.harness.loop_filesystem import NotPossibleError, mounted

pytestmark = [pytest.mark.anyio, on_asyncio]

MIB = 2**20
DISK_BYTES = 64 * MIB


def make_sparse(path: Path, size: int = 256 * MIB, data: int = 4 * MIB) -> str:
    """Write a file of ``size`` bytes, of which ``data`` are no hole; return its MD5."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
        for offset in (MIB, size // 2):
            file.seek(offset)
            file.write(os.urandom(data // 2))
    if not has_holes(path.stat()):
        pytest.skip("this file system has no holes")
    return hashlib.md5(path.read_bytes()).hexdigest()


@in_both
async def test_holes_are_kept(repo: Path, isolation: Isolation) -> None:
    md5 = make_sparse(repo / "sparse")
    make_sparse(repo / "data/sparse")
    os.link(repo / "data/sparse", repo / "data/linked")
    async with AsyncLive(root=repo, isolation=isolation) as live:
        for copy in (False, True):
            logged = await live.log_artifact("sparse", copy=copy)
            assert logged.md5 == md5
            assert logged.size == 256 * MIB
            assert taken_bytes(logged.path.stat()) < 8 * MIB
            logged = await live.log_artifact("data", copy=copy)
            assert all(taken_bytes(path.stat()) < 8 * MIB for path in logged.path.iterdir())
        make_sparse(repo / "submitted")
        handle = await live.submit("submitted", copy=True)
        assert taken_bytes((await handle).path.stat()) < 8 * MIB
    cache = repo / ".dvc/cache/files/md5"
    assert all(taken_bytes(path.stat()) < 8 * MIB for path in cache.glob("??/*"))
    objects(repo)


@pytest.fixture
def small_disk(templates: Templates, tmp_path: Path) -> Iterator[Path]:
    """A repository on a disk of 64 MiB."""
    try:
        with mounted("tmpfs", DISK_BYTES, tmp_path) as disk:
            yield templates.make("git", disk / "base")
    except NotPossibleError as error:
        pytest.skip(str(error))


async def test_a_file_is_refused_only_if_its_bytes_do_not_fit_without_holes(
    small_disk: Path,
) -> None:
    make_sparse(small_disk / "fits", data=6 * MIB)
    make_sparse(small_disk / "directory/fits")
    make_sparse(small_disk / "does-not", data=20 * MIB)
    async with AsyncLive(root=small_disk) as live:
        await live.log_artifact("fits")
        await live.log_artifact("directory", copy=True)
        handle = await live.submit("directory", copy="submitted")
        await handle
        with pytest.raises(StorageError, match="apparent size, with holes, is 268,435,456"):
            await live.log_artifact("does-not")
