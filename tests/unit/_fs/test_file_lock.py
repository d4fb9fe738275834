"""FileLock: one thread at a time, of all processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclive._fs import file_lock
from asynclive._fs.file_lock import FileLock

_HOLD = """
import sys
from asynclive._fs.file_lock import FileLock
with FileLock(sys.argv[1]).hold():
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(
    params=["between processes", "no locks on files", "locks for all", "no such directory"]
)
def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileLock:
    path = tmp_path / "tmp" / "turn"
    if request.param == "no locks on files":
        monkeypatch.setattr(file_lock, "fcntl", None)
    elif request.param == "locks for all":
        monkeypatch.setattr("fcntl.flock", lambda *_: None)
    elif request.param == "no such directory":
        (tmp_path / "tmp").write_text("a file")
    return FileLock(str(path))


def test_one_thread_at_a_time(make: FileLock) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def count(change: int) -> None:
        nonlocal inside, most
        with lock:
            inside += change
            most = max(most, inside)

    def work(arrived: Callable[[], object]) -> None:
        arrived()
        for _ in range(50):
            with make.hold():
                count(1)
                count(-1)

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=[barrier.wait]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("end", ["killed", "done"])
def test_the_lock_waits_for_another_process_however_that_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "turn"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        ending = threading.Event()
        taken: list[bool] = []

        def take() -> None:
            with FileLock(str(path)).hold():
                taken.append(ending.is_set())

        thread = threading.Thread(target=take)
        thread.start()
        ending.set()
        process.kill() if end == "killed" else process.stdin.close()
        thread.join()
    assert taken == [True]


def test_two_sessions_of_one_process_exclude_each_other(make: FileLock) -> None:
    entered = threading.Event()

    def enter() -> None:
        with FileLock(make.path).hold():
            entered.set()

    thread = threading.Thread(target=enter)
    with make.hold():
        thread.start()
        assert not entered.wait(0.2)
    thread.join()
    assert entered.is_set()


def test_the_lock_is_reentrant(make: FileLock, tmp_path: Path) -> None:
    # As in a signal handler that interrupts the holder.
    with make.hold(), make.hold(), FileLock(str(tmp_path / "tmp" / "turn")).hold():
        pass


def test_an_exception_releases_the_lock(make: FileLock) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), make.hold():
            raise ZeroDivisionError
