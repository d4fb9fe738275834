"""Sync: files and directories that it syncs; if disabled, none."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from asynclive._fs.fsync import NO_SYNC, Sync

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere it is not os.fsync alone"
)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the calls of os.fsync."""
    inodes: list[int] = []
    real = os.fsync

    def noted(fd: int) -> None:
        inodes.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return inodes


def test_a_file_and_a_directory_are_synced_by_their_paths(
    tmp_path: Path, synced: list[int]
) -> None:
    path = tmp_path / "f"
    path.write_text("f")
    sync = Sync(str(tmp_path))
    sync.file(str(path))
    sync.directory(str(tmp_path))
    assert synced == [path.stat().st_ino, tmp_path.stat().st_ino]


def test_a_disabled_sync_does_nothing_not_even_a_stat(tmp_path: Path, synced: list[int]) -> None:
    NO_SYNC.file(str(tmp_path / "none"))
    NO_SYNC.directory(str(tmp_path / "none"))
    NO_SYNC.up_to_mount_point(str(tmp_path / "none"))
    NO_SYNC.fd(-1)
    NO_SYNC.data(-1)
    assert list(NO_SYNC.with_parents([str(tmp_path)])) == []
    assert synced == []


def test_a_link_is_not_followed(tmp_path: Path, synced: list[int]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    Sync(str(tmp_path)).file(str(tmp_path / "link"))
    assert synced == []


def test_each_directory_and_its_parents_in_the_repository_come_once() -> None:
    sync = Sync("/r")
    assert list(sync.with_parents(["/r/a/b", "/r/a/c", "/r"])) == ["/r/a/b", "/r/a", "/r", "/r/a/c"]
    assert list(sync.with_parents(["/elsewhere/a", "/rest"])) == ["/elsewhere/a", "/rest"]


def test_all_directories_up_to_the_mount_point_are_synced(
    tmp_path: Path, synced: list[int]
) -> None:
    Sync(str(tmp_path)).up_to_mount_point(str(tmp_path))
    assert synced[:2] == [tmp_path.stat().st_ino, tmp_path.parent.stat().st_ino]
    assert os.path.ismount(tmp_path.parents[len(synced) - 2])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_directory_that_cannot_be_synced_is_no_error_but_a_bad_disk_is(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    sync = Sync(str(tmp_path))
    if number == errno.EINVAL:
        sync.directory(str(tmp_path))
    else:
        with pytest.raises(OSError, match="rror") as caught:
            sync.directory(str(tmp_path))
        assert caught.value.filename == str(tmp_path)
