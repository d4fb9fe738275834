"""A directory as a remote: its errors, its temp files, and the objects that it has read before."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from gate import Gate
from limits import at_most_more_open_files
from remotes import make_remote, make_unit, md5_of

from asynclive._artifact.push_records import PushResult, PushUnit, RemoteDescription
from asynclive._errors import PushError, RemoteAccessError, RemoteVerifyError
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.directory import object_copy, object_directory
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget
from perf.harness.loop_filesystem import NotPossibleError, mounted

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {"small": b"small", "empty": b"", "large": b"0123456789abcdef" * 2**20}


class Place:
    """A cache, and a directory as a remote."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.cache = base / "cache"
        self.top = base / "ein rémote" / "deep"
        self.objects = self.top / "files" / "md5"
        self.remote = make_remote("r", self.top)
        self.hash_cache = base / "tmp" / "asynclive"
        self.budget = RequestBudget(4)
        self.pusher = Pusher(self.open, self.budget)

    async def open(self, description: RemoteDescription) -> LocalRemote:
        return LocalRemote(description, self.budget, str(self.hash_cache))

    def unit(self, files: dict[str, bytes] = FILES) -> PushUnit:
        return make_unit(files, self.remote, self.cache)

    def path(self, data: bytes) -> Path:
        """Return the path of an object in the remote."""
        return self.objects / md5_of(data)[:2] / md5_of(data)[2:]

    async def push(self, files: dict[str, bytes] = FILES, **options: Any) -> PushResult:
        """Push in a session of its own, which leaves no temp file."""
        try:
            return await self.push_and_close(files)
        finally:
            assert self.temp_directories() == []

    async def push_and_close(self, files: dict[str, bytes]) -> PushResult:
        try:
            return await self.pusher.push([self.unit(files)], "store", PushCounts())
        finally:
            await self.pusher.aclose()

    def temp_directories(self) -> list[Path]:
        return [*self.objects.glob(".asynclive*")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The MD5s of the objects in the remote that were read."""
    read: list[str] = []
    original = object_directory.ObjectDirectory.read

    def recorded(self: Any, obj: Any, checkpoint: Any) -> str:
        read.append(obj.md5)
        return original(self, obj, checkpoint)

    monkeypatch.setattr(object_directory.ObjectDirectory, "read", recorded)
    return read


# --- Objects that were read before -------------------------------------------------------------


async def test_nothing_is_read_again_by_the_next_session(place: Place, reads: list[str]) -> None:
    first = await place.push()
    second = await place.push()
    assert (first.objects, second.objects, second.skipped) == (4, 0, 4)
    assert (first.verified_by, second.verified_by) == ("checksum", "checksum")
    assert reads == []


async def test_objects_of_other_pushers_are_read_once(place: Place, reads: list[str]) -> None:
    await place.push()
    for path in place.hash_cache.iterdir():
        path.unlink()
    assert (await place.push()).skipped == 4
    assert len(reads) == 4
    assert (await place.push()).skipped == 4
    assert len(reads) == 4


async def test_a_young_object_is_read_again_since_a_write_may_leave_its_mtime(
    place: Place, reads: list[str]
) -> None:
    place.path(b"x").parent.mkdir(parents=True)
    place.path(b"x").write_bytes(b"x")
    await place.push({"x": b"x"})
    await place.push({"x": b"x"})
    assert reads == [md5_of(b"x")] * 2


async def test_an_object_that_is_overwritten_right_after_the_push_is_found_out(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    await place.push()
    path = place.path(b"small")
    path.chmod(0o644)
    path.write_bytes(b"SMALL")
    result = await place.push()
    assert (result.objects, result.skipped) == (1, 3)
    assert path.read_bytes() == b"small"
    assert "data/small" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"garbage\n", b"\xff\xfe 1 2\n", b"a 1 2 x\nb 1 2 3 4\n"])
async def test_a_damaged_file_of_proofs_means_that_objects_are_read(
    place: Place, reads: list[str], damage: bytes
) -> None:
    await place.push()
    [path] = place.hash_cache.iterdir()
    path.write_bytes(damage + path.read_bytes()[:-5])
    assert (await place.push()).skipped == 4
    assert 0 < len(reads) < 4


async def test_a_push_works_without_a_place_for_its_proofs(place: Place) -> None:
    place.hash_cache.parent.mkdir(parents=True)
    place.hash_cache.touch()
    await place.push()
    assert (await place.push()).skipped == 4


# --- Temp files --------------------------------------------------------------------------------


async def test_a_push_removes_the_temp_files_of_a_killed_one_and_no_others(place: Place) -> None:
    place.objects.mkdir(parents=True)
    code = """
import os, sys
from asynclive._workspace.temp_directory import TempDirectory
temp = TempDirectory.start(sys.argv[1])
open(temp.new_path(), "wb").write(b"half")
print("ready", flush=True)
sys.stdin.read()
os._exit(1)
"""
    command = [sys.executable, "-c", code, str(place.objects)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dead,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as alive,
    ):
        for process in (dead, alive):
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        assert len(place.temp_directories()) == 2
        dead.kill()
        dead.wait()
        await place.pusher.push([place.unit()], "store", PushCounts())
        await place.pusher.aclose()
        [left] = place.temp_directories()
        assert (left / "0").read_bytes() == b"half"


MANY = {str(number): b"%d" % number * (1 + number % 7 * 30_000) for number in range(300)}
_PUSH = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_local_remote import MANY, Place
place = Place(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
result = asyncio.run(place.push_and_close(MANY))
print(result.objects + result.skipped, flush=True)
"""


async def test_two_processes_push_the_same_objects_at_the_same_time(place: Place) -> None:
    place.unit(MANY)
    arguments = [str(place.base), *(path for path in sys.path if path)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUSH, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate()[0] for process in processes] == ["301\n"] * 2
    assert place.temp_directories() == []
    for path in place.objects.glob("??/*"):
        md5 = path.parent.name + path.name
        assert md5_of(path.read_bytes()) == md5.removesuffix(".dir")
    assert len([*place.objects.glob("??/*")]) == 301


async def test_a_push_of_nothing_new_writes_nothing_to_the_remote(place: Place) -> None:
    await place.push()
    for path in (place.objects, place.top):
        path.chmod(0o555)
    before = os.stat(place.objects).st_mtime_ns
    await place.push()
    assert os.stat(place.objects).st_mtime_ns == before
    for path in (place.objects, place.top):
        path.chmod(0o755)


@pytest.mark.parametrize("name", ["small", "large"])
async def test_a_cancelled_push_leaves_no_temp_file_and_no_listing(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    unit, gate = place.unit({name: FILES[name]}), Gate()
    original = object_directory.ObjectDirectory.publish

    def publish(self: Any, temp: str, md5: str) -> None:
        gate()
        original(self, temp, md5)

    monkeypatch.setattr(object_directory.ObjectDirectory, "publish", publish)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.pusher.push, [unit], "store", PushCounts())
        await gate.reached.wait()
        tasks.cancel_scope.cancel()
        gate.open()
    [temp] = place.temp_directories()
    assert [path.name for path in temp.iterdir()] == ["session"]
    assert [path.name for path in place.objects.glob("??/*")] in (
        [],
        [place.path(FILES[name]).name],
    )
    assert (await place.push({name: FILES[name]})).objects in (1, 2)


async def test_a_removed_remote_is_made_again_by_the_next_push_of_the_session(place: Place) -> None:
    pusher = place.pusher
    await pusher.push([place.unit()], "store", PushCounts())
    subprocess.run(["rm", "-rf", str(place.top)], check=True)
    result = await pusher.push([place.unit()], "store", PushCounts())
    assert result.objects == 4
    await pusher.aclose()
    assert place.path(b"small").read_bytes() == b"small"


# --- Errors ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unprivileged")
async def test_a_directory_without_permission_is_an_error_of_access(place: Place) -> None:
    place.top.mkdir(parents=True)
    place.top.chmod(0o555)
    with pytest.raises(
        RemoteAccessError, match=r"Permission denied.*dvc remote modify r url"
    ) as raised:
        await place.push()
    assert (raised.value.remote, raised.value.option) == ("r", "url")
    place.top.chmod(0o755)
    assert [*place.top.iterdir()] == []


@pytest.mark.parametrize("where", ["", "files", "files/md5"])
async def test_a_file_in_place_of_the_directory_is_an_error_of_access(
    place: Place, where: str
) -> None:
    path = place.top / where
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(RemoteAccessError, match=r"Not a directory|File exists"):
        await place.push()
    assert path.is_file()


@pytest.mark.parametrize("call", ["write_new", "copy_step"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
async def test_a_full_disk_is_an_error_of_access_and_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(object_copy, call, fail)
    with pytest.raises(RemoteAccessError, match=os.strerror(number)):
        await place.push()
    assert not [path for path in place.objects.glob("??/*") if path.suffix == ".dir"]
    monkeypatch.undo()
    await place.push()


async def test_a_disk_that_becomes_full_keeps_whole_objects_alone(
    place: Place, tmp_path: Path
) -> None:
    files = {str(number): bytes([number]) * 2**20 for number in range(12)}
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(mounted("tmpfs", 8 * 2**20, tmp_path))
        except NotPossibleError as error:
            pytest.skip(str(error))
        place.top.parent.mkdir()
        place.top.symlink_to(disk)
        with pytest.raises(RemoteAccessError, match="No space left on device"):
            await place.push(files)
        stored = [*place.objects.glob("??/*")]
        assert 0 < len(stored) <= 8
        assert all(md5_of(path.read_bytes()) == path.parent.name + path.name for path in stored)
        # With some files less, the rest fits.
        result = await place.push({name: files[name] for name in list(files)[:6]})
        assert result.objects + result.skipped == 7


@pytest.mark.usefixtures("unprivileged")
async def test_a_directory_of_another_user_fails_its_objects_alone(place: Place) -> None:
    directory = place.path(b"small").parent
    directory.mkdir(parents=True)
    directory.chmod(0o555)
    with pytest.raises(PushError, match=r"data/small.*Permission denied") as raised:
        await place.push()
    assert [one.path for one in raised.value.failed] == ["data/small"]
    assert place.path(FILES["large"]).exists()
    directory.chmod(0o755)
    assert (await place.push()).skipped == 2


async def test_a_directory_in_place_of_an_object_fails_that_object_alone(place: Place) -> None:
    (place.path(b"small") / "x").mkdir(parents=True)
    with pytest.raises(PushError, match=r"data/small.*Is a directory"):
        await place.push()
    assert place.path(FILES["large"]).exists()


@pytest.mark.parametrize("name", ["small", "large"])
async def test_a_damaged_cache_is_an_error_that_names_the_file(place: Place, name: str) -> None:
    place.unit()
    path = place.cache / md5_of(FILES[name])[:2] / md5_of(FILES[name])[2:]
    data = bytearray(FILES[name])
    data[-1] ^= 1
    path.write_bytes(data)
    unit = make_unit(FILES, place.remote)
    unit = PushUnit(unit.path, unit.remote, str(place.cache), unit.objects, unit.listing)
    with pytest.raises(RemoteVerifyError, match=str(path)):
        await place.pusher.push([unit], "store", PushCounts())
    await place.pusher.aclose()
    assert not place.path(FILES[name]).exists()


@pytest.mark.usefixtures("unprivileged")
async def test_an_object_of_the_cache_that_cannot_be_read_is_named(place: Place) -> None:
    unit = place.unit()
    path = place.cache / md5_of(b"small")[:2] / md5_of(b"small")[2:]
    path.chmod(0)
    with pytest.raises(PushError, match=r"data/small.*Permission denied"):
        await place.pusher.push([unit], "store", PushCounts())
    await place.pusher.aclose()
    path.chmod(0o644)


async def test_an_object_that_cannot_be_read_in_the_remote_is_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.push()
    for path in place.hash_cache.iterdir():
        path.unlink()

    def fail(*_: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(object_directory.ObjectDirectory, "read", fail)
        assert (await place.push()).objects == 4


async def test_many_pushes_of_large_objects_open_few_files(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_copy, "STEP_BYTES", 2**18)
    contents = [b"%d" % at * 400_000 for at in range(30)]
    units = [place.unit({"": data}) for data in contents]
    with at_most_more_open_files(40):
        async with anyio.create_task_group() as tasks:
            for unit in units:
                tasks.start_soon(place.pusher.push, [unit], "store", PushCounts())
    await place.pusher.aclose()
    assert all(place.path(data).exists() for data in contents)
