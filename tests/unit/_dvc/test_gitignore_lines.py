"""AppendUndo restores a file to the bytes before an append."""

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
def test_an_append_is_undone_to_the_byte(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    appends = AppendUndo()
    add(appends, path, b"/b\n")
    assert appends.undo_last(str(path))
    assert (path.read_bytes() if path.exists() else None) == before
    assert not appends.undo_last(str(path))


def test_a_file_that_changed_after_the_append_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    appends = AppendUndo()
    add(appends, path, b"/a\n")
    path.write_bytes(b"/mine\n/a\n")
    assert not appends.undo_last(str(path))
    assert path.read_bytes() == b"/mine\n/a\n"


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_a_failed_append_leaves_no_part_of_it(tmp_path: Path, before: bytes | None) -> None:
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


def test_there_is_nothing_to_undo_if_no_file_was_created(tmp_path: Path) -> None:
    appends = AppendUndo()
    with appends.record_append(str(tmp_path / "file")):
        pass
    assert not appends.undo_last(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("before", [None, b"/a\n"])
def test_several_appends_are_undone_one_by_one(tmp_path: Path, before: bytes | None) -> None:
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


def test_the_line_of_another_artifact_is_not_undone(tmp_path: Path) -> None:
    path, appends = tmp_path / ".gitignore", AppendUndo()
    for line in ("/a", "/b"):
        with appends.record_append(str(path), line), path.open("a") as file:
            file.write(f"{line}\n")
    assert not appends.undo_last(str(path), "/a")
    assert path.read_text() == "/a\n/b\n"
