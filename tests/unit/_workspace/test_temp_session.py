"""TempSession: its directories, its lock, and its temp files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sessions import clear_up, make_silent, names, other_session

from asynclive._workspace import temp_session
from asynclive._workspace.session_owner import this_process
from asynclive._workspace.temp_session import TempSession


def test_a_session_has_two_private_directories_until_it_is_closed(cache: Path, tmp: Path) -> None:
    session = TempSession.start(str(cache), str(tmp))
    directories = Path(session.cache_tmp), Path(session.workspace_tmp)
    assert [path.parent for path in directories] == [cache, tmp]
    for path in directories:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "below").mkdir()
        (path / "below" / "file").touch()
        (path / "below").chmod(0o500)
    session.close()
    assert names(cache, tmp) == []


def test_a_forked_child_does_not_remove_the_directories_of_its_parent(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = TempSession.start(str(cache), str(tmp))
    before = names(cache, tmp)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        session.close()
    assert names(cache, tmp) == before
    session.close()
    assert names(cache, tmp) == []


def test_the_lock_is_not_inherited_by_programs(cache: Path, tmp: Path) -> None:
    session = TempSession.start(str(cache), str(tmp))
    assert [os.get_inheritable(fd) for fd in session._locks.values()] == [False, False]
    session.close()


def test_a_session_that_cannot_be_made_is_an_error_and_leaves_nothing(
    cache: Path, tmp: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        TempSession.start(str(cache), str(tmp / "missing"))
    assert names(cache, tmp) == []


def test_closing_a_session_whose_directories_were_removed_logs_nothing(
    cache: Path, tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = TempSession.start(str(cache), str(tmp))
    for directory in (session.cache_tmp, session.workspace_tmp):
        os.unlink(os.path.join(directory, "session"))
        os.rmdir(directory)
    session.close()
    assert not caplog.records


# --- Without file locks ----------------------------------------------------------------------


@contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(temp_session.fcntl, "flock", refuse)
        yield


def test_without_file_locks_every_session_counts_as_running(
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


def test_a_session_is_made_without_a_lock_if_all_locks_are_refused(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(temp_session.fcntl, "flock", refuse)
        session = TempSession.start(str(cache), str(tmp))
        clear_up(cache, tmp)
    assert names(cache, tmp) == [
        os.path.basename(path) for path in (session.cache_tmp, session.workspace_tmp)
    ]
    session.close()
    assert names(cache, tmp) == []


def test_a_session_without_a_lock_is_never_taken_for_a_dead_one(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_locks(monkeypatch):
        session = TempSession.start(str(cache), str(tmp))
    before = names(cache, tmp)
    assert len(before) == 2
    clear_up(cache, tmp)
    assert names(cache, tmp) == before
    session.close()
    assert names(cache, tmp) == []


# --- Races between making a session and crash recovery ----------------------------------------


@pytest.mark.parametrize(
    ("function", "number"), [("mkdir", 1), ("open", 1), ("mkdir", 2), ("open", 2)]
)
def test_a_session_in_the_making_is_left_alone_or_made_again(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """Crash recovery runs after each step: the directory is made, then the unlocked file."""
    real: Callable[..., object] = getattr(os, function)
    calls = []

    def followed(path: str, *args: object) -> object:
        result = real(path, *args)
        if "asynclive-" in path:
            calls.append(path)
            if len(calls) == number:
                make_silent(cache, tmp)  # this process was suspended
                with monkeypatch.context() as patch:
                    patch.setattr(os, function, real)
                    clear_up(cache, tmp)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, function, followed)
        session = TempSession.start(str(cache), str(tmp))
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


def test_making_a_session_does_not_wait_for_a_lock_that_recovery_holds(
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
        session = TempSession.start(str(cache), str(tmp))
    assert len(names(cache)) == 4  # recovery has to remove the first one
    os.close(claims[0])
    clear_up(cache, tmp)
    assert len(names(cache)) == 4  # its owner is unknown, so it stays for a while
    make_silent(cache)
    clear_up(cache, tmp)
    assert len(names(cache)) == 2
    session.close()
    assert names(cache, tmp) == []


# --- Temp files -------------------------------------------------------------------------------


def test_a_temp_file_is_in_the_session_if_a_rename_can_reach_its_target(
    cache: Path, tmp: Path
) -> None:
    session = TempSession.start(str(cache), str(tmp))
    temps = [session.temp_for(str(tmp.parent / "dvc.yaml")) for _ in range(2)]
    assert [os.path.dirname(temp) for temp in temps] == [session.workspace_tmp] * 2
    assert len(set(temps)) == 2
    for temp in temps:
        Path(temp).touch()
        os.replace(temp, tmp.parent / "dvc.yaml")
    session.close()
    assert names(tmp.parent) == ["dvc.yaml", "tmp"]


@pytest.mark.parametrize("end", ["closed", "killed", "killed, and moved"])
def test_a_temp_file_next_to_its_target_is_found_by_its_note(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(temp_session, "can_rename_between", lambda *args: False)
    session = TempSession.start(str(cache), str(tmp))
    ended = this_process()._replace(started="0")
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
            os.ftruncate(fd, 0)
            os.pwrite(fd, ended.to_bytes(), 0)
            os.close(fd)
        if end == "killed, and moved":
            repo = repo.rename(repo.parent / "moved")
        clear_up(cache, repo / "tmp")
    assert names(cache, repo) == [".dvc.yaml.tmp", "tmp"]


def test_the_temp_file_for_an_unwritable_directory_is_in_that_directory(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = TempSession.start(str(cache), str(tmp))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for any user but root
    assert os.path.dirname(session.temp_for(str(tmp.parent / "dvc.yaml"))) == str(tmp.parent)
    session.close()
