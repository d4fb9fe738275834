"""Copies in the kernel, and through user space if the kernel cannot."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclive._fs import kernel_copy
from asynclive._fs.kernel_copy import (
    COPY_STEP_BYTES,
    clone,
    copy_file,
    copy_step,
    data_bytes,
    has_holes,
    taken_bytes,
)

ERRORS = ("EXDEV", "ENOSYS", "EINVAL", "EOPNOTSUPP", "EPERM", "ENOENT", "ETXTBSY", "EINTR", "EIO")


@pytest.fixture(params=["kernel", "missing", "none", "once", "few", *ERRORS])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The behaviour of ``copy_file_range``.

    "none": it copies nothing. "once": it copies some bytes, and nothing afterwards. "few": it
    copies fewer bytes than it is asked for.
    """
    real, calls = kernel_copy.os.copy_file_range, itertools.count()

    def answer(source: int, target: int, count: int, *offsets: int) -> int:
        if request.param in ERRORS:
            number = getattr(errno, request.param)
            raise OSError(number, os.strerror(number))
        if request.param == "none" or (request.param == "once" and next(calls)):
            return 0
        return real(source, target, min(count, 1_000_000), *offsets)

    if request.param == "missing":
        monkeypatch.delattr(kernel_copy.os, "copy_file_range", raising=False)
    elif request.param != "kernel":
        monkeypatch.setattr(kernel_copy.os, "copy_file_range", answer, raising=False)
    return str(request.param)


@contextlib.contextmanager
def two_files(tmp_path: Path, data: bytes) -> Iterator[tuple[int, int]]:
    (tmp_path / "source").write_bytes(data)
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "w+b") as target:
        yield source.fileno(), target.fileno()


DATA = bytes(range(256)) * 4096 * 5 + b"tail"


def test_steps_copy_all_bytes_and_then_return_zero(tmp_path: Path, way: str) -> None:
    with two_files(tmp_path, DATA) as (source, target):
        done = 0
        while count := copy_step(source, target, done):
            assert 0 < count <= COPY_STEP_BYTES
            done += count
    assert done == len(DATA)
    assert (tmp_path / "target").read_bytes() == DATA


def test_a_step_starts_at_its_offset(tmp_path: Path, way: str) -> None:
    with two_files(tmp_path, b"0123456789") as (source, target):
        assert copy_step(source, target, 6) == 4
        assert copy_step(source, target, 0) == 10
        assert copy_step(source, target, 10) == 0
    assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_a_full_disk_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernel_copy.os, "copy_file_range", fail, raising=False)
    with two_files(tmp_path, DATA) as fds, pytest.raises(OSError, match="No space left"):
        copy_step(*fds, 0)


def test_a_file_is_copied_completely_from_its_start(tmp_path: Path, way: str) -> None:
    with two_files(tmp_path, DATA) as (source, _):
        os.lseek(source, 7, os.SEEK_SET)
        copy_file(source, str(tmp_path / "copy"), lambda: None)
    assert (tmp_path / "copy").read_bytes() == DATA
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_a_copy_that_is_short_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_copy.os, "copy_file_range", lambda *args: 0, raising=False)
    monkeypatch.setattr(kernel_copy.os, "read", lambda *args: b"")
    with (
        two_files(tmp_path, b"0123456789") as (source, _),
        pytest.raises(OSError, match="copied 0 of 10 bytes"),
    ):
        copy_file(source, str(tmp_path / "copy"), lambda: None)


def test_a_copy_can_be_stopped_after_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_copy.copy_step, "__defaults__", (2**20,))
    steps = 0

    class Stopped(Exception):  # noqa: N818
        pass

    def checkpoint() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise Stopped

    before = len(os.listdir("/proc/self/fd"))
    with two_files(tmp_path, DATA) as (source, _), pytest.raises(Stopped):
        copy_file(source, str(tmp_path / "copy"), checkpoint)
    assert (tmp_path / "copy").stat().st_size == 3 * 2**20
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_clone_has_all_bytes_or_none(tmp_path: Path) -> None:
    with two_files(tmp_path, DATA) as (source, target):
        made = clone(source, target)
    assert (tmp_path / "target").read_bytes() == (DATA if made else b"")


def test_a_clone_that_is_short_is_no_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone_a_part(target: int, _: int, source: int) -> None:
        os.pwrite(target, os.pread(source, 100, 0), 0)

    monkeypatch.setattr("fcntl.ioctl", clone_a_part)
    with two_files(tmp_path, DATA) as (source, target):
        assert not clone(source, target)
    assert (tmp_path / "target").read_bytes() == b""


def make_sparse(path: Path) -> bytes:
    """Write a file with holes at its start, in its middle and at its end; return its bytes."""
    size, parts = 8 * 2**20, {2**20: b"a" * 5000, 3 * 2**20: b"b" * 2**20}
    with path.open("wb") as file:
        file.truncate(size)
        for offset, part in parts.items():
            file.seek(offset)
            file.write(part)
    if not has_holes(path.stat()):
        pytest.skip("this file system has no holes")
    return path.read_bytes()


def test_a_copy_keeps_the_holes_of_its_source(tmp_path: Path, way: str) -> None:
    data = make_sparse(tmp_path / "sparse")
    with open(tmp_path / "sparse", "rb") as source:
        assert data_bytes(source.fileno(), len(data)) < 2 * 2**20
        copy_file(source.fileno(), str(tmp_path / "copy"), lambda: None)
    assert (tmp_path / "copy").read_bytes() == data
    assert taken_bytes((tmp_path / "copy").stat()) < 2 * 2**20


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_where_the_system_knows_no_holes_all_bytes_are_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    data, seek = make_sparse(tmp_path / "sparse"), os.lseek

    def refuse(fd: int, offset: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(error, os.strerror(error))
        return seek(fd, offset, whence)

    monkeypatch.setattr(os, "lseek", refuse)
    with open(tmp_path / "sparse", "rb") as source:
        assert data_bytes(source.fileno(), len(data)) == len(data)
        copy_file(source.fileno(), str(tmp_path / "copy"), lambda: None)
    assert (tmp_path / "copy").read_bytes() == data
