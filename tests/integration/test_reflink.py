"""Share blocks on real XFS and Btrfs, so that no byte is written twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import leftovers
from twin import Templates, dvc

from asynclive import AsyncLive
from asynclive._artifact.push_records import PushObject, PushUnit, RemoteDescription
from asynclive._doctor.diagnosis import diagnose
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget
from perf.harness.loop_filesystem import NotPossibleError, mounted, used_bytes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Use asyncio: nothing here depends on the loop."""
    return "asyncio"


# Several steps of reading and of cloning, and far more than the files of DVC and of the file
# system take.
FILE_BYTES = 64 * 2**20
LITTLE = FILE_BYTES // 16
# XFS needs 300 MiB at least. There is space for all the copies that must not be made, so that a
# failure shows as used space.
DISK_BYTES = 1024 * 2**20


@pytest.fixture(scope="module", params=["xfs", "btrfs"])
def disk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    where = tmp_path_factory.mktemp("disk")
    with contextlib.ExitStack() as stack:
        try:
            point = stack.enter_context(mounted(request.param, DISK_BYTES, where))
        except NotPossibleError as error:
            pytest.skip(str(error))
        yield point


@pytest.fixture
def base(disk: Path) -> Iterator[Path]:
    """Make an empty directory on the disk, and remove it after the test."""
    base = disk / "base"
    base.mkdir()
    yield base
    shutil.rmtree(base)


@pytest.fixture
def repo(templates: Templates, base: Path) -> Path:
    return templates.make("git", base / "workspace")


def write_large(path: Path, size: int = FILE_BYTES) -> Path:
    block = os.urandom(2**20)
    with path.open("wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8, "little") + block[8:])
    return path


def overwrite(path: Path) -> None:
    """Write into the file in place, at its start and at its end."""
    with path.open("r+b") as file:
        file.write(b"written later")
        file.seek(-13, os.SEEK_END)
        file.write(b"written later")


def object_path(repo: Path, md5: str | None) -> Path:
    assert md5 is not None
    return repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


async def test_a_copy_and_its_cache_object_take_no_space_and_keep_the_bytes_of_the_call(
    base: Path, repo: Path
) -> None:
    source = write_large(base / "model.pt")
    before = used_bytes(base)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(source, type="model", copy=True)
    assert used_bytes(base) - before < LITTLE
    data = source.read_bytes()
    stored = object_path(repo, logged.md5)
    assert logged.path.read_bytes() == stored.read_bytes() == data
    overwrite(source)
    assert logged.path.read_bytes() == stored.read_bytes() == data
    assert "up to date" in dvc(repo, "status")
    assert leftovers(base) == []


async def test_a_file_in_place_shares_space_with_the_cache_until_it_is_written(
    base: Path, repo: Path
) -> None:
    source = write_large(repo / "model.pt")
    data = source.read_bytes()
    before = used_bytes(base)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(source, type="model")
    assert used_bytes(base) - before < LITTLE
    assert source.read_bytes() == data
    assert "up to date" in dvc(repo, "status")
    overwrite(source)
    assert object_path(repo, logged.md5).read_bytes() == data


async def test_large_files_of_a_directory_are_cloned_as_well(base: Path, repo: Path) -> None:
    source = base / "data"
    source.mkdir()
    for number in range(2):
        write_large(source / f"{number}.bin", FILE_BYTES // 2)
    (source / "small.txt").write_text("read whole, and written")
    before = used_bytes(base)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(source, type="dataset", copy=True)
    assert used_bytes(base) - before < LITTLE
    for path in source.iterdir():
        assert (logged.path / path.name).read_bytes() == path.read_bytes()


async def test_bytes_of_another_file_system_are_written_once_and_cloned(
    base: Path, repo: Path, tmp_path: Path
) -> None:
    source = write_large(tmp_path / "model.pt")
    before = used_bytes(base)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(source, type="model", copy=True)
    assert abs(used_bytes(base) - before - FILE_BYTES) < LITTLE
    data = source.read_bytes()
    source.unlink()
    assert logged.path.read_bytes() == object_path(repo, logged.md5).read_bytes() == data


def test_doctor_reports_shared_blocks(repo: Path) -> None:
    found = diagnose(str(repo))
    assert found.problems == []
    assert found.links is not None
    assert "reflink" in found.links.working
    assert found.links.used == "reflink"
    assert found.links.workspace_reflinks
    assert found.links.cache_reflinks
    assert found.cache is not None
    assert found.cache.kind in ("xfs", "btrfs")


async def test_a_push_to_a_directory_on_the_same_disk_shares_all_blocks(base: Path) -> None:
    sizes = [FILE_BYTES // 2, *[400 * 2**10] * 60]
    objects = []
    for size in sizes:
        data = os.urandom(size)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        path = base / "cache" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        objects.append(PushObject(md5, size, "data"))
    remote = RemoteDescription("r", "remote", "local", str(base / "remote" / "files" / "md5"))
    budget = RequestBudget()

    async def open_store(description: RemoteDescription) -> LocalRemote:
        return LocalRemote(description, budget, str(base / "hash cache"))

    pusher = Pusher(open_store, budget)
    before = used_bytes(base)
    unit = PushUnit("data", remote, str(base / "cache"), objects)
    result = await pusher.push([unit], "store", PushCounts())
    await pusher.aclose()
    assert used_bytes(base) - before < LITTLE
    assert (result.objects, result.verified_by) == (len(sizes), "checksum")
    for obj in objects:
        stored = base / "remote" / "files" / "md5" / obj.md5[:2] / obj.md5[2:]
        assert stored.read_bytes() == Path(unit.object_path(obj)).read_bytes()
