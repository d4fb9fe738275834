"""Newer bytes of a file are detected by its stat record."""

from __future__ import annotations

import mmap
import sys
import time
from pathlib import Path

import pytest

from asynclive._artifact.records import StoredFile
from asynclive._fs.change_detection import (
    file_clock_ns,
    fingerprint_of,
    is_open_for_writing,
    seconds_to_next_tick,
)
from asynclive._stage.stage_job import without_doubtful

SECOND = 10**9
NOW = 1_700_000_000 * SECOND + 500_000_001


def test_a_file_written_before_the_last_tick_is_settled() -> None:
    assert seconds_to_next_tick(NOW - SECOND, NOW) == 0
    assert seconds_to_next_tick(NOW, NOW) > 0


def test_a_file_from_the_future_is_settled() -> None:
    assert seconds_to_next_tick(NOW + 10 * SECOND, NOW) == 0


def test_if_mtimes_are_whole_seconds_a_tick_is_long() -> None:
    assert seconds_to_next_tick(NOW // SECOND * SECOND, NOW) == pytest.approx(1.5)


def test_after_the_wait_a_write_changes_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(50):
        path.write_text("older")
        before = path.stat()
        time.sleep(seconds_to_next_tick(before.st_mtime_ns, file_clock_ns()))
        path.write_text("newer")
        assert fingerprint_of(path.stat()) != fingerprint_of(before)


def test_a_stamp_that_newer_bytes_might_share_is_marked_racy() -> None:
    settled = StoredFile(("a",), "0" * 32, 1, False, 7, NOW - SECOND)
    doubtful = settled._replace(key=("b",), mtime_ns=NOW)
    assert without_doubtful([settled, doubtful], NOW) == [settled, doubtful._replace(inode=0)]


def test_only_a_process_that_writes_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    assert not is_open_for_writing(str(path))
    with path.open():
        assert not is_open_for_writing(str(path))
    with path.open("a"):
        assert is_open_for_writing(str(path)) == sys.platform.startswith("linux")
    with path.open("r+b") as file:
        pages = mmap.mmap(file.fileno(), 0)
    assert is_open_for_writing(str(path)) == sys.platform.startswith("linux")
    pages.close()
    assert not is_open_for_writing(str(path))
    (tmp_path / "link").symlink_to(path)
    assert not is_open_for_writing(str(tmp_path / "link"))
    assert not is_open_for_writing(str(tmp_path / "missing"))
