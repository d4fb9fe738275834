"""Sessions that alternate leave DVC's lock free together; threads of one session take turns."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from twin import dvc

from asynclive._dvc.repository import repository_lock
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._dvc.repository.repository_lock import BREAK, LONGEST_HOLD, LockBreaks
from asynclive._errors import LockTimeoutError


class Clock:
    now = 1_700_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(repository_lock, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "asynclive" / "lock-use"


def hold(breaks: LockBreaks, clock: Clock, seconds: float) -> None:
    breaks.record_acquire()
    clock.now += seconds
    breaks.record_release()


def test_the_holds_of_two_alternating_sessions_are_added_up(clock: Clock, path: Path) -> None:
    one, other = LockBreaks(str(path)), LockBreaks(str(path))
    for _ in range(2):
        assert one.break_seconds() == other.break_seconds() == 0
        hold(one, clock, LONGEST_HOLD / 3)
        hold(other, clock, LONGEST_HOLD / 3)
    for breaks in (one, other, LockBreaks(str(path))):
        assert breaks.break_seconds() == pytest.approx(BREAK, abs=1e-3)
    clock.now += BREAK / 2
    assert one.break_seconds() == pytest.approx(BREAK / 2, abs=1e-3)
    clock.now += BREAK  # file timestamps are rounded
    assert one.break_seconds() == 0
    hold(one, clock, LONGEST_HOLD / 2)  # the count starts at zero
    assert one.break_seconds() == 0


def test_there_is_no_break_if_the_lock_is_free_for_as_long_as_it_is_held(
    clock: Clock, path: Path
) -> None:
    breaks = LockBreaks(str(path))
    for _ in range(100):
        hold(breaks, clock, 0.1)
        assert breaks.break_seconds() == 0
        clock.now += 0.1


def test_no_break_follows_a_clock_set_back_or_a_removed_file(clock: Clock, path: Path) -> None:
    breaks = LockBreaks(str(path))
    assert breaks.break_seconds() == 0
    hold(breaks, clock, 2 * LONGEST_HOLD)
    clock.now -= 3600
    assert breaks.break_seconds() == 0
    hold(breaks, clock, 2 * LONGEST_HOLD)
    assert breaks.break_seconds() > 0
    path.unlink()
    assert breaks.break_seconds() == 0
    hold(breaks, clock, LONGEST_HOLD / 2)
    assert breaks.break_seconds() == 0
    os.chmod(path, 0o444)
    hold(breaks, clock, 0.1)


def test_a_file_that_cannot_be_written_is_no_error(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    breaks = LockBreaks(str(tmp_path / "file" / "lock-use"))
    hold(breaks, clock, 2 * LONGEST_HOLD)
    assert breaks.break_seconds() == 0


@pytest.mark.parametrize("hardlink_lock", ["false", "true"])
def test_a_second_thread_waits_for_the_lock_of_its_process(repo: Path, hardlink_lock: str) -> None:
    """DVC's own object takes no note of the first thread, and fails to unlock after the second."""
    dvc(repo, "config", "core.hardlink_lock", hardlink_lock)
    repository = DvcRepository.open(str(repo.resolve()))
    try:
        assert repository.acquire()
        assert not repository.acquire()
        with ThreadPoolExecutor(1) as pool:
            recording = pool.submit(repository.record_versions, 60, "storage", [])
            with pytest.raises(LockTimeoutError):
                repository.record_versions(0, "storage", [])
            repository.release()
            recording.result()
        assert repository.acquire()
        repository.release()
    finally:
        repository.close()
