"""Crash recovery where each host grants itself all locks: nothing of a running session is touched.

The lock of a session is always granted here. That is the same as a lock on another host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sessions import HOLD, clear_up, make_silent, names, other_session

from asynclive import ResourceLimitError
from asynclive._workspace import heartbeat, session_owner, temp_session
from asynclive._workspace.crash_recovery import find_sessions
from asynclive._workspace.heartbeat import Heartbeat
from asynclive._workspace.session_owner import Owner, this_process
from asynclive._workspace.temp_session import TempSession

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells which process is which"
)


@pytest.fixture(autouse=True)
def locks_are_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temp_session.fcntl, "flock", lambda *_: None)


def seen_from(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Run crash recovery on another host, in another container, or after another boot."""
    owner = this_process()._replace(**values)
    monkeypatch.setattr(session_owner, "this_process", lambda: owner)


def alive(*places: Path) -> list[bool]:
    return [session.living for session in find_sessions([str(place) for place in places])]


# --- On the same host ---------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_runs_is_not_taken_for_dead_however_long_it_is_silent(
    cache: Path, tmp: Path, stopped: bool
) -> None:
    with other_session(cache, tmp) as other:
        if stopped:  # or its laptop is suspended
            other.signal(signal.SIGSTOP)
        make_silent(cache, tmp)
        before = names(cache, tmp)
        clear_up(cache, tmp)
        assert names(cache, tmp) == before
        assert alive(cache, tmp) == [True, True]
        other.kill()
        assert alive(cache, tmp) == [False, False]
        clear_up(cache, tmp)
        assert names(cache, tmp) == []


def test_a_killed_process_that_its_parent_has_not_seen_is_dead(cache: Path, tmp: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, cache, tmp], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        clear_up(cache, tmp)
        assert names(cache, tmp) == []


def test_another_process_with_the_same_id_does_not_keep_a_dead_session(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = this_process()._replace(started="1")
    with monkeypatch.context() as patch:
        patch.setattr(temp_session, "this_process", lambda: earlier)
        TempSession.start(str(cache), str(tmp))
    clear_up(cache, tmp)
    assert names(cache, tmp) == []


def test_a_process_that_the_system_hides_is_not_taken_for_dead(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hidepid, ``/proc`` shows no processes of other users."""
    with other_session(cache, tmp) as other:
        read = session_owner._state_and_start

        def hide(pid: str) -> tuple[str, str]:
            if pid == "self":
                return read(pid)
            raise FileNotFoundError(2, "No such file or directory", f"/proc/{pid}/stat")

        monkeypatch.setattr(session_owner, "_state_and_start", hide)
        before = names(cache, tmp)
        clear_up(cache, tmp)
        assert names(cache, tmp) == before
        other.kill()
        clear_up(cache, tmp)
        assert names(cache, tmp) == []


# --- Elsewhere ----------------------------------------------------------------------------------

ELSEWHERE = {
    "another host": {"host": "other", "boot": "other"},
    "another host with the same name": {"boot": "other"},
    "another container": {"pid_namespace": "pid:[1]"},
    "a container that cannot tell": {"pid_namespace": "", "started": ""},
}


@pytest.mark.parametrize("values", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_session_elsewhere_is_dead_only_after_a_long_silence(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    with other_session(cache, tmp) as other:
        before = names(cache, tmp)
        other.kill()
    seen_from(monkeypatch, **values)
    for seconds in (0, session_owner.SILENT_SECONDS - 60):
        make_silent(cache, tmp, seconds=seconds)
        clear_up(cache, tmp)
        assert names(cache, tmp) == before
        assert alive(cache, tmp) == [True, True]
    make_silent(cache, tmp, seconds=60)
    clear_up(cache, tmp)
    assert names(cache, tmp) == []


@pytest.mark.parametrize("name", ["session", "half", "below/half", "below"])
def test_nothing_is_removed_of_a_session_elsewhere_that_was_touched_lately(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with other_session(cache, tmp):
        make_silent(cache, tmp)
        for place in (cache, tmp):
            (directory,) = place.iterdir()
            os.utime(directory / name)
        before = names(cache, tmp)
        seen_from(monkeypatch, host="other", boot="other")
        clear_up(cache, tmp)
        assert names(cache, tmp) == before


@pytest.mark.parametrize(
    ("silent", "since_boot", "cleared"),
    [(120, 90, True), (120, 150, False), (30, 10, False)],
    ids=["booted since", "not booted since", "booted just now"],
)
def test_a_session_of_an_earlier_boot_is_dead(
    cache: Path,
    tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: float,
    since_boot: float,
    cleared: bool,
) -> None:
    """A host with the same name that runs has renewed its files since this one has booted."""
    with other_session(cache, tmp) as other:
        other.kill()
    make_silent(cache, tmp, seconds=silent)
    seen_from(monkeypatch, boot="other")
    monkeypatch.setattr(session_owner, "_seconds_since_boot", lambda: since_boot)
    clear_up(cache, tmp)
    assert (names(cache, tmp) == []) == cleared


@pytest.mark.parametrize("record", [b"", b"host\nboot\n", b"a\nb\nc\nno number\ne\n", b"\0" * 64])
def test_a_session_without_a_record_is_dead_only_after_a_long_silence(
    cache: Path, tmp: Path, record: bytes
) -> None:
    """An older version writes none, and a kill may cut one short."""
    with other_session(cache, tmp) as other:
        other.kill()
    for path in (*cache.glob("*/session"), *tmp.glob("*/session")):
        path.write_bytes(record)
    before = names(cache, tmp)
    clear_up(cache, tmp)
    assert names(cache, tmp) == before
    make_silent(cache, tmp)
    clear_up(cache, tmp)
    assert names(cache, tmp) == []


def test_if_proc_shows_other_processes_the_owner_cannot_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a new process namespace without a new ``/proc``."""
    known = this_process()
    assert all(known)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert this_process() == known._replace(pid="1", pid_namespace="", started="")


def test_a_record_reads_back(tmp: Path) -> None:
    owner = Owner("a host", "b", "pid:[1]", "12", "34")
    (tmp / "session").write_bytes(owner.to_bytes())
    assert session_owner._read_owner(str(tmp / "session")) == owner


# --- The heartbeat ------------------------------------------------------------------------------


def test_the_heartbeat_renews_both_files_until_the_session_is_closed(
    cache: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.001)
    session = TempSession.start(str(cache), str(tmp))
    make_silent(cache, tmp)
    renewed = [threading.Event() for _ in session._locks]
    utime: Callable[[int], None] = os.utime

    def renew(fd: int) -> None:
        utime(fd)
        renewed[[*session._locks.values()].index(fd)].set()

    monkeypatch.setattr(heartbeat, "renew", renew)
    session.start_heartbeat()
    assert all(event.wait(60) for event in renewed)
    assert all(session_owner._seconds_silent(directory) < 600 for directory in session._locks)
    session.close()
    assert "asynclive-heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_without_a_thread_to_spare_there_is_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ResourceLimitError):
        Heartbeat([])
