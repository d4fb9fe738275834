"""Crash recovery: the temp directories of killed sessions are removed."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sessions import clear_up, make_silent, names, other_session

from asynclive._workspace import temp_session
from asynclive._workspace.temp_session import TempSession


def test_files_of_a_running_session_stay_and_those_of_a_killed_one_are_removed(
    cache: Path, tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with other_session(cache, tmp) as living, other_session(cache, tmp) as killed:
        before = names(cache, tmp)
        clear_up(cache, tmp)
        assert names(cache, tmp) == before
        assert not caplog.records
        killed.kill()
        clear_up(cache, tmp)
        assert len(names(cache, tmp)) == len(before) / 2
        assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
        for record, place in zip(caplog.records, (cache, tmp), strict=True):
            assert str(place) in record.getMessage()
            assert "2 files, 10 bytes" in record.getMessage()
        living.end()
        assert names(cache, tmp) == []


def test_files_of_a_running_session_of_this_process_stay(cache: Path, tmp: Path) -> None:
    one, other = TempSession.start(str(cache), str(tmp)), TempSession.start(str(cache), str(tmp))
    before = names(cache, tmp)
    clear_up(cache, tmp)
    assert names(cache, tmp) == before
    one.close()
    clear_up(cache, tmp)
    assert len(names(cache, tmp)) == len(before) / 2
    other.close()
    assert names(cache, tmp) == []


def test_other_directories_are_not_removed(cache: Path, tmp: Path, tmp_path: Path) -> None:
    for name in ("asynclive", "asynclive-notes", "asynclive-0123456789ABCDEF", "00"):
        (tmp / name).mkdir()
        (tmp / name / "file").touch()
    (tmp / "asynclive-0123456789abcdef").write_text("a file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp / "asynclive-fedcba9876543210").symlink_to(elsewhere)
    before = names(tmp_path)
    clear_up(tmp, tmp_path / "missing")
    assert names(tmp_path) == before


def test_a_directory_of_a_session_killed_before_it_made_its_lock_is_removed(tmp: Path) -> None:
    (tmp / "asynclive-0123456789abcdef").mkdir(0o700)
    make_silent(tmp)
    clear_up(tmp)
    assert names(tmp) == []


def test_a_directory_that_cannot_be_removed_is_logged_and_removed_next_time(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "session").touch()
    (dead / "half").touch()
    make_silent(tmp)

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(temp_session, "remove_tree", refuse)
        clear_up(tmp)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(dead) in caplog.text
    assert "Permission denied" in caplog.text
    assert names(dead) == ["half", "session"]
    make_silent(tmp)
    clear_up(tmp)
    assert names(tmp) == []


def test_a_file_that_a_worker_makes_during_the_removal_is_removed_too(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    rmdir, more = os.rmdir, iter(["1", "2"])
    make_silent(tmp)

    def rmdir_too_late(path: str) -> None:
        for name in more:
            Path(path, name).touch()
            break
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", rmdir_too_late)
    clear_up(tmp)
    assert names(tmp) == []


def test_a_directory_that_may_not_be_opened_stays(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp / "asynclive-0123456789abcdef").mkdir()

    def refuse(*args: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    clear_up(tmp)
    assert names(tmp) == ["asynclive-0123456789abcdef"]
    assert not caplog.records  # in a shared cache most sessions belong to other users


@pytest.mark.parametrize("number", range(1, 8))
def test_two_sessions_can_remove_the_same_directory_at_once(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Before each step of one recovery, another one removes the directory."""
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "session").touch()
    (dead / "half").touch()
    make_silent(tmp)
    calls = []

    def preceded(real: Callable[..., object]) -> Callable[..., object]:
        def function(*args: object, **kwargs: object) -> object:
            calls.append(args)
            if len(calls) == number:
                clear_up(tmp)
            return real(*args, **kwargs)

        return function

    for name in ("open", "listdir", "lstat", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, preceded(getattr(os, name)))
    clear_up(tmp)
    monkeypatch.undo()
    assert len(calls) >= number
    assert names(tmp) == []
    assert not caplog.records


@pytest.mark.parametrize("note", ["", "../..", "../../.dvc.yaml.0123456789ab", "../../missing/.a"])
def test_an_incomplete_note_removes_nothing(tmp: Path, note: str) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "0.outside").write_text(note)
    make_silent(tmp)
    (tmp.parent / ".dvc.yaml.0123456789abcdef.0.tmp").touch()
    clear_up(tmp)
    assert names(tmp.parent) == [".dvc.yaml.0123456789abcdef.0.tmp", "tmp"]
