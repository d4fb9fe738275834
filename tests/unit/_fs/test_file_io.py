"""Small files are written completely and with the right mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from asynclive._fs.file_io import create, remove_file, write_all


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    fd = create(str(tmp_path / "f"))
    write_all(fd, b"0123456789")
    os.close(fd)
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_write_that_stops_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    fd = create(str(tmp_path / "f"))
    with pytest.raises(OSError, match="0 of 10 bytes"):
        write_all(fd, b"0123456789")
    os.close(fd)


def test_a_temp_file_is_private_and_always_new(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    os.close(create(path))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create(path)


def test_removing_a_missing_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    remove_file(str(tmp_path / "f"))
    remove_file(str(tmp_path / "f"))
    assert os.listdir(tmp_path) == []
