"""Taking back what was added to a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from asynclive._dvc.tracking.gitignore_lines import AppendUndo


def add(appended: AppendUndo, path: Path, data: bytes) -> None:
    with appended.adding(str(path)), path.open("ab") as file:
        file.write(data)


@pytest.mark.parametrize("before", [None, b"", b"/a\n", b"/a", b"/a\r\n"])
def test_what_was_added_is_taken_back_to_the_byte(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appended = AppendUndo()
    add(appended, path, b"/b\n")
    assert appended.take_back(str(path))
    assert (path.read_bytes() if path.exists() else None) == before
    assert not appended.take_back(str(path))


def test_what_is_not_as_it_was_left_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    appended = AppendUndo()
    add(appended, path, b"/a\n")
    path.write_bytes(b"/mine\n/a\n")
    assert not appended.take_back(str(path))
    assert path.read_bytes() == b"/mine\n/a\n"


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_half_of_an_addition_does_not_stay(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appended = AppendUndo()

    def fill_the_disk() -> None:
        with appended.adding(str(path)):
            path.write_bytes((before or b"") + b"/b")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert (path.read_bytes() if path.exists() else None) == before
    assert not appended.take_back(str(path))


def test_a_file_that_was_not_made_is_nothing_to_take_back(tmp_path: Path) -> None:
    appended = AppendUndo()
    with appended.adding(str(tmp_path / "file")):
        pass
    assert not appended.take_back(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_several_additions_are_taken_back_one_by_one(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appended = AppendUndo()
    states = []
    for line in (b"/b\n", b"/c\n", b"/d\n"):
        states.append(path.read_bytes() if path.exists() else None)
        add(appended, path, line)
    for state in reversed(states):
        assert appended.take_back(str(path))
        assert (path.read_bytes() if path.exists() else None) == state
    assert not appended.take_back(str(path))
