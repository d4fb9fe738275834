"""Sessions on real directories, some of them other processes'."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from session_process import Process, running

from asynclive._fs import atomic_rename
from asynclive._workspace import temp_session
from asynclive._workspace.crash_recovery import remove_dead_sessions
from asynclive._workspace.temp_session import Session

# The directories of its session, and some files of 5 bytes in them.
HOLD = """
import os, sys
from asynclive._workspace.temp_session import Session

session = Session.start(sys.argv[1], sys.argv[2])
for directory in (session.cache_tmp, session.workspace_tmp):
    os.mkdir(f"{directory}/below")
    for path in (f"{directory}/half", f"{directory}/below/half"):
        with open(path, "w") as file:
            file.write("bytes")
print("started", flush=True)
sys.stdin.read()
session.close()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    (tmp_path / "repo" / "tmp").mkdir(parents=True)
    return tmp_path / "repo" / "tmp"


@contextmanager
def other_session(cache: Path, tmp: Path) -> Iterator[Process]:
    with running(HOLD, cache, tmp) as process:
        assert process.line() == "started"
        yield process


def clear_up(*places: Path) -> None:
    remove_dead_sessions([str(place) for place in places])


def names(*places: Path) -> list[str]:
    return [path.name for place in places for path in sorted(place.rglob("*"))]


def test_a_session_has_two_private_directories_until_it_is_closed(cache: Path, tmp: Path) -> None:
    session = Session.start(str(cache), str(tmp))
    directories = Path(session.cache_tmp), Path(session.workspace_tmp)
    assert [path.parent for path in directories] == [cache, tmp]
    for path in directories:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "below").mkdir()
        (path / "below" / "file").touch()
        (path / "below").chmod(0o500)
    session.close()
    assert names(cache, tmp) == []


def test_the_lock_is_not_inherited_by_programs(cache: Path, tmp: Path) -> None:
    session = Session.start(str(cache), str(tmp))
    assert [os.get_inheritable(fd) for fd in session._locks.values()] == [False, False]
    session.close()


def test_what_cannot_be_made_is_an_error_and_leaves_nothing(cache: Path, tmp: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Session.start(str(cache), str(tmp / "missing"))
    assert names(cache, tmp) == []


def test_a_directory_that_was_removed_by_hand_is_no_trouble(
    cache: Path, tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session.start(str(cache), str(tmp))
    for directory in (session.cache_tmp, session.workspace_tmp):
        os.unlink(os.path.join(directory, "session"))
        os.rmdir(directory)
    session.close()
    assert not caplog.records


# --- Clearing up ----------------------------------------------------------------------------


def test_a_living_session_keeps_its_files_and_a_killed_one_loses_them(
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


def test_a_living_session_of_this_process_keeps_its_files(cache: Path, tmp: Path) -> None:
    one, other = Session.start(str(cache), str(tmp)), Session.start(str(cache), str(tmp))
    before = names(cache, tmp)
    clear_up(cache, tmp)
    assert names(cache, tmp) == before
    one.close()
    clear_up(cache, tmp)
    assert len(names(cache, tmp)) == len(before) / 2
    other.close()
    assert names(cache, tmp) == []


def test_nothing_else_is_removed(cache: Path, tmp: Path, tmp_path: Path) -> None:
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


def test_a_directory_whose_maker_was_killed_before_it_had_a_lock_is_removed(tmp: Path) -> None:
    (tmp / "asynclive-0123456789abcdef").mkdir(0o700)
    clear_up(tmp)
    assert names(tmp) == []


def test_what_cannot_be_removed_is_said_and_removed_the_next_time(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "session").touch()
    (dead / "half").touch()

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(temp_session, "remove_tree", refuse)
        clear_up(tmp)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(dead) in caplog.text
    assert "Permission denied" in caplog.text
    assert names(dead) == ["half", "session"]
    clear_up(tmp)
    assert names(tmp) == []


def test_a_file_that_a_worker_still_makes_is_removed_too(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    rmdir, more = os.rmdir, iter(["1", "2"])

    def rmdir_too_late(path: str) -> None:
        for name in more:
            Path(path, name).touch()
            break
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", rmdir_too_late)
    clear_up(tmp)
    assert names(tmp) == []


def test_what_is_not_ours_to_look_into_stays(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp / "asynclive-0123456789abcdef").mkdir()

    def refuse(*args: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    clear_up(tmp)
    assert names(tmp) == ["asynclive-0123456789abcdef"]
    assert not caplog.records  # on a shared cache that is most sessions


# --- Where the lock cannot say ---------------------------------------------------------------


@contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(temp_session.fcntl, "flock", refuse)
        yield


def test_where_there_are_no_locks_everybody_counts_as_living(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other_session(cache, tmp) as killed:
        killed.kill()
    before = names(cache, tmp)
    with without_locks(monkeypatch):
        clear_up(cache, tmp)
    assert names(cache, tmp) == before
    monkeypatch.setattr(temp_session, "fcntl", None)
    clear_up(cache, tmp)
    assert names(cache, tmp) == before


def test_a_session_that_got_no_lock_is_not_taken_for_a_dead_one_by_those_that_do(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_locks(monkeypatch):
        session = Session.start(str(cache), str(tmp))
    before = names(cache, tmp)
    assert len(before) == 2
    clear_up(cache, tmp)
    assert names(cache, tmp) == before
    session.close()
    assert names(cache, tmp) == []


# --- Races between making a session and clearing up -------------------------------------------


@pytest.mark.parametrize(
    ("function", "number"), [("mkdir", 1), ("open", 1), ("mkdir", 2), ("open", 2)]
)
def test_a_session_that_is_just_made_is_left_alone_or_made_again(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """Others clear up after each step of making one: the directory, then the file, not locked."""
    real: Callable[..., object] = getattr(os, function)
    calls = []

    def followed(path: str, *args: object) -> object:
        result = real(path, *args)
        if "asynclive-" in path:
            calls.append(path)
            if len(calls) == number:
                with monkeypatch.context() as patch:
                    patch.setattr(os, function, real)
                    clear_up(cache, tmp)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, function, followed)
        session = Session.start(str(cache), str(tmp))
    clear_up(cache, tmp)
    assert sorted(names(cache, tmp)) == sorted(
        [
            os.path.basename(session.cache_tmp),
            os.path.basename(session.workspace_tmp),
            "session",
            "session",
        ]
    )
    assert len(calls) == 3  # one directory was made again
    session.close()
    assert names(cache, tmp) == []


def test_a_lock_that_is_held_by_who_clears_up_is_not_waited_for(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    claims: list[int] = []

    def claimed(path: str, *args: int) -> int:
        fd = real(path, *args)
        if path.endswith("session") and not claims:
            claims.append(real(path, os.O_RDWR))
            assert temp_session.try_lock(claims[0])
        return fd

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", claimed)
        session = Session.start(str(cache), str(tmp))
    assert len(names(cache)) == 4  # the first one is who clears up's to remove
    os.close(claims[0])
    clear_up(cache, tmp)
    assert len(names(cache)) == 2
    session.close()
    assert names(cache, tmp) == []


@pytest.mark.parametrize("number", range(1, 8))
def test_two_that_clear_up_at_once_do_not_get_in_each_others_way(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Whatever the first one does, another one has cleared up just before."""
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "session").touch()
    (dead / "half").touch()
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


# --- What lies outside ------------------------------------------------------------------------


def test_a_temp_file_lies_in_the_session_where_a_rename_reaches(cache: Path, tmp: Path) -> None:
    session = Session.start(str(cache), str(tmp))
    temps = [session.temp_for(str(tmp.parent / "dvc.yaml")) for _ in range(2)]
    assert [os.path.dirname(temp) for temp in temps] == [session.workspace_tmp] * 2
    assert len(set(temps)) == 2
    for temp in temps:
        Path(temp).touch()
        os.replace(temp, tmp.parent / "dvc.yaml")
    session.close()
    assert names(tmp.parent) == ["dvc.yaml", "tmp"]


@pytest.mark.parametrize("end", ["closed", "killed", "killed, and moved"])
def test_one_that_lies_beside_its_place_is_found_by_its_note(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(temp_session, "reaches", lambda *args: False)
    session = Session.start(str(cache), str(tmp))
    repo = tmp.parent
    target = repo / "dvc.yaml"
    temps = [session.temp_for(str(target)) for _ in range(2)]
    assert {os.path.dirname(temp) for temp in temps} == {str(repo)}
    assert len(set(temps)) == 2
    Path(temps[1]).touch()
    (repo / ".dvc.yaml.tmp").touch()
    if end == "closed":
        session.close()
    else:
        for fd in session._locks.values():
            os.close(fd)
        if end == "killed, and moved":
            repo = repo.rename(repo.parent / "moved")
        clear_up(cache, repo / "tmp")
    assert names(cache, repo) == [".dvc.yaml.tmp", "tmp"]


@pytest.mark.parametrize("note", ["", "../..", "../../.dvc.yaml.0123456789ab", "../../missing/.a"])
def test_a_note_that_was_cut_short_removes_nothing(tmp: Path, note: str) -> None:
    dead = tmp / "asynclive-0123456789abcdef"
    dead.mkdir()
    (dead / "0.outside").write_text(note)
    (tmp.parent / ".dvc.yaml.0123456789abcdef.0.tmp").touch()
    clear_up(tmp)
    assert names(tmp.parent) == [".dvc.yaml.0123456789abcdef.0.tmp", "tmp"]


def test_a_directory_that_may_not_be_written_to_is_found_out_by_writing_there(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session.start(str(cache), str(tmp))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anybody but root
    assert os.path.dirname(session.temp_for(str(tmp.parent / "dvc.yaml"))) == str(tmp.parent)
    session.close()


def test_a_place_that_a_rename_does_not_reach_is_told_by_device_or_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    assert atomic_rename.reaches(str(tmp_path), str(tmp_path / "other"))

    def refuse(one: str, other: str) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", refuse)
    assert not atomic_rename.reaches(str(tmp_path), str(tmp_path / "other"))
    assert names(tmp_path) == ["other"]
