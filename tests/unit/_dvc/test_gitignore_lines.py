"""Taking back what was added to a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from asynclive._dvc.tracking.gitignore_lines import AppendUndo


def add(appends: AppendUndo, path: Path, data: bytes) -> None:
    with appends.record_append(str(path)), path.open("ab") as file:
        file.write(data)


@pytest.mark.parametrize("before", [None, b"", b"/a\n", b"/a", b"/a\r\n"])
def test_what_was_added_is_taken_back_to_the_byte(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appends = AppendUndo()
    add(appends, path, b"/b\n")
    assert appends.undo_last(str(path))
    assert (path.read_bytes() if path.exists() else None) == before
    assert not appends.undo_last(str(path))


def test_what_is_not_as_it_was_left_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    appends = AppendUndo()
    add(appends, path, b"/a\n")
    path.write_bytes(b"/mine\n/a\n")
    assert not appends.undo_last(str(path))
    assert path.read_bytes() == b"/mine\n/a\n"


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_half_of_an_addition_does_not_stay(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appends = AppendUndo()

    def fill_the_disk() -> None:
        with appends.record_append(str(path)):
            path.write_bytes((before or b"") + b"/b")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert (path.read_bytes() if path.exists() else None) == before
    assert not appends.undo_last(str(path))


def test_a_file_that_was_not_made_is_nothing_to_take_back(tmp_path: Path) -> None:
    appends = AppendUndo()
    with appends.record_append(str(tmp_path / "file")):
        pass
    assert not appends.undo_last(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_several_additions_are_taken_back_one_by_one(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appends = AppendUndo()
    states = []
    for line in (b"/b\n", b"/c\n", b"/d\n"):
        states.append(path.read_bytes() if path.exists() else None)
        add(appends, path, line)
    for state in reversed(states):
        assert appends.undo_last(str(path))
        assert (path.read_bytes() if path.exists() else None) == state
    assert not appends.undo_last(str(path))
