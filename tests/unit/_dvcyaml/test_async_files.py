"""AsyncFiles on real files, on asyncio and trio."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asynclive._dvcyaml.async_files import AsyncFiles, FileStamp

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def files() -> AsyncFiles:
    return AsyncFiles(anyio.CapacityLimiter(1))


async def test_text_is_read_with_its_line_ends(files: AsyncFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes("a\r\nb\rc\né".encode())
    read = await files.read_text(str(path))
    assert read == ("a\r\nb\rc\né", FileStamp.of(path.stat()))


async def test_a_missing_file_reads_as_none(files: AsyncFiles, tmp_path: Path) -> None:
    assert await files.read_text(str(tmp_path / "f")) is None
    assert FileStamp.of_path(str(tmp_path / "f")) is None


async def test_text_that_is_not_utf8_is_an_error(files: AsyncFiles, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        await files.read_text(str(tmp_path / "f"))


async def test_a_written_file_has_the_given_bytes_and_mode(
    files: AsyncFiles, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    stamp = await files.write(str(path), "a\r\né\n".encode(), 0o664)
    assert path.read_bytes() == "a\r\né\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o664  # whatever the umask
    assert stamp in (None, FileStamp.of(path.stat()))


async def test_a_file_that_is_overwritten_at_once_has_another_stamp(
    files: AsyncFiles, tmp_path: Path
) -> None:
    # Many of these writes fall between the same two ticks of the clock of file times.
    for number in range(50):
        path = tmp_path / str(number)
        stamp = await files.write(str(path), b"ours", 0o600)
        path.write_bytes(b"mine")
        assert stamp is None or stamp != FileStamp.of_path(str(path))


async def test_an_existing_file_is_not_overwritten(files: AsyncFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        await files.write(str(path), b"yours", 0o600)
    assert path.read_text() == "mine"


async def test_a_file_that_cannot_be_completed_is_removed(
    files: AsyncFiles, tmp_path: Path
) -> None:
    with pytest.raises(OverflowError):
        await files.write(str(tmp_path / "f"), b"text", mode=2**64)
    assert os.listdir(tmp_path) == []


async def test_a_cancelled_write_leaves_a_complete_file_or_none(
    files: AsyncFiles, tmp_path: Path
) -> None:
    # Cancel the write after n checkpoints, for n = 0, 1, 2, ...
    path = tmp_path / "f"
    for checkpoints in range(50):
        finished = False

        async def write(scope: anyio.CancelScope) -> None:
            nonlocal finished
            with scope:
                await files.write(str(path), b"text" * 10_000, 0o600)
                finished = True

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(write, scope)
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
        if finished:
            assert path.read_text() == "text" * 10_000
            path.unlink()
        assert os.listdir(tmp_path) == []


async def test_replace_renames_one_file_over_another(files: AsyncFiles, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new")
    old.write_text("old")
    assert await files.replace(str(new), str(old), FileStamp.of_path(str(old)))
    assert old.read_text() == "new"
    assert not new.exists()


async def test_a_file_that_has_changed_is_not_replaced(files: AsyncFiles, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new")
    old.write_text("old")
    stamp = FileStamp.of_path(str(old))
    old.write_text("edited")
    assert not await files.replace(str(new), str(old), stamp)
    assert not await files.replace(str(new), str(old), None)
    assert not await files.replace(None, str(tmp_path / "missing"), stamp)
    assert await files.replace(None, str(tmp_path / "missing"), None)
    assert (new.read_text(), old.read_text()) == ("new", "edited")


async def test_removing_a_missing_file_is_no_error(files: AsyncFiles, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    await files.remove(str(tmp_path / "f"))
    await files.remove(str(tmp_path / "f"))
    assert os.listdir(tmp_path) == []


def test_a_replaced_or_changed_or_touched_file_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("1")
    stamps = [FileStamp.of_path(str(path))]
    path.write_text("12")
    stamps.append(FileStamp.of_path(str(path)))
    os.utime(path, ns=(1, 1))
    stamps.append(FileStamp.of_path(str(path)))
    other = tmp_path / "other"
    other.write_text("34")
    os.utime(other, ns=(1, 1))
    os.replace(other, path)
    stamps.append(FileStamp.of_path(str(path)))
    path.chmod(0o600)
    stamps.append(FileStamp.of_path(str(path)))
    assert len(set(stamps)) == 5


async def test_no_more_threads_run_than_the_limiter_allows(tmp_path: Path) -> None:
    limiter = anyio.CapacityLimiter(2)
    files = AsyncFiles(limiter)
    lock = threading.Lock()
    full = threading.Barrier(2)
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        full.wait(timeout=30)  # both threads are inside at once
        with lock:
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(files.run, work)
    assert most == 2
    assert limiter.borrowed_tokens == 0
