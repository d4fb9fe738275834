"""DiskSpace: a file that cannot fit is refused; bytes that other files still need count."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from asynclive._fs.free_space import MIN_CHECKED_BYTES, DiskSpace, free_bytes

MIB = 2**20


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The answer of the disk: 100 MiB of 1000 are free."""
    said = {"total": 1000 * MIB, "free": 100 * MIB}

    def usage(_path: str) -> Any:
        used = said["total"] - said["free"]
        return shutil._ntuple_diskusage(said["total"], used, said["free"])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return said


def paths(directory: Path, *names: str) -> list[str]:
    return [str(directory / name) for name in names]


def test_an_exact_fit_is_accepted_and_one_byte_more_is_not(
    tmp_path: Path, free: dict[str, int]
) -> None:
    space = DiskSpace()
    space.release(space.reserve(paths(tmp_path, "a"), 100 * MIB))
    with pytest.raises(OSError, match=r"104,857,601 bytes are needed, and 104,857,600 are free"):
        space.reserve(paths(tmp_path, "a"), 100 * MIB + 1)


def test_an_object_and_its_copy_on_one_disk_count_twice(
    tmp_path: Path, free: dict[str, int]
) -> None:
    space = DiskSpace()
    space.release(space.reserve(paths(tmp_path, "a", "b"), 50 * MIB))
    with pytest.raises(OSError, match="are needed") as caught:
        space.reserve(paths(tmp_path, "a", "b"), 51 * MIB)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path)


def test_bytes_that_other_files_still_need_count_until_written_or_released(
    tmp_path: Path, free: dict[str, int]
) -> None:
    space = DiskSpace()
    first = space.reserve(paths(tmp_path, "a"), 60 * MIB)
    with pytest.raises(OSError, match=r"of which 62,914,560 are reserved for other files"):
        space.reserve(paths(tmp_path, "b"), 50 * MIB)
    with pytest.raises(OSError, match="are needed"):
        space.check(str(tmp_path), 50 * MIB)
    # Half of the file is written, and the disk has that much less space.
    first.remaining_bytes, free["free"] = 30 * MIB, 70 * MIB
    second = space.reserve(paths(tmp_path, "b"), 40 * MIB)
    with pytest.raises(OSError, match="are needed"):
        space.reserve(paths(tmp_path, "c"), 31 * MIB)
    space.release(first)
    space.release(second)
    space.reserve(paths(tmp_path, "c"), 70 * MIB)


def test_a_refused_file_reserves_nothing(tmp_path: Path, free: dict[str, int]) -> None:
    space = DiskSpace()
    with pytest.raises(OSError, match="are needed"):
        space.reserve(paths(tmp_path, "a"), 101 * MIB)
    space.reserve(paths(tmp_path, "a"), 100 * MIB)


def test_small_files_are_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> Any:
        raise AssertionError

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    space = DiskSpace()
    space.release(space.reserve(paths(tmp_path, "a"), MIN_CHECKED_BYTES - 1))
    space.check(str(tmp_path), MIN_CHECKED_BYTES - 1)


def test_a_file_system_that_does_not_report_its_space_refuses_nothing(
    tmp_path: Path, free: dict[str, int]
) -> None:
    free.update(total=0, free=0)
    assert free_bytes(str(tmp_path)) is None
    DiskSpace().reserve(paths(tmp_path, "a"), 2**60)
