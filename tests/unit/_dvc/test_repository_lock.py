"""LockUse: sessions that take turns leave the lock free together, for long enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclive._dvc.repository import repository_lock
from asynclive._dvc.repository.repository_lock import BREAK, LONGEST_USE, LockBreaks


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


def hold(use: LockBreaks, clock: Clock, seconds: float) -> None:
    use.taken()
    clock.now += seconds
    use.freed()


def test_what_two_sessions_hold_in_turns_counts_together(clock: Clock, path: Path) -> None:
    one, other = LockBreaks(str(path)), LockBreaks(str(path))
    for _ in range(2):
        assert one.break_seconds() == other.break_seconds() == 0
        hold(one, clock, LONGEST_USE / 3)
        hold(other, clock, LONGEST_USE / 3)
    for use in (one, other, LockBreaks(str(path))):
        assert use.break_seconds() == pytest.approx(BREAK, abs=1e-3)
    clock.now += BREAK / 2
    assert one.break_seconds() == pytest.approx(BREAK / 2, abs=1e-3)
    clock.now += BREAK  # times of files are rounded
    assert one.break_seconds() == 0
    hold(one, clock, LONGEST_USE / 2)  # begins anew
    assert one.break_seconds() == 0


def test_as_long_as_it_is_free_for_as_long_as_it_is_held_there_is_no_break(
    clock: Clock, path: Path
) -> None:
    use = LockBreaks(str(path))
    for _ in range(100):
        hold(use, clock, 0.1)
        assert use.break_seconds() == 0
        clock.now += 0.1


def test_a_clock_that_is_set_back_and_a_file_that_is_gone_keep_nobody_waiting(
    clock: Clock, path: Path
) -> None:
    use = LockBreaks(str(path))
    assert use.break_seconds() == 0
    hold(use, clock, 2 * LONGEST_USE)
    clock.now -= 3600
    assert use.break_seconds() == 0
    hold(use, clock, 2 * LONGEST_USE)
    assert use.break_seconds() > 0
    path.unlink()
    assert use.break_seconds() == 0
    hold(use, clock, LONGEST_USE / 2)
    assert use.break_seconds() == 0
    os.chmod(path, 0o444)
    hold(use, clock, 0.1)


def test_where_it_cannot_be_written_nothing_fails(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    use = LockBreaks(str(tmp_path / "file" / "lock-use"))
    hold(use, clock, 2 * LONGEST_USE)
    assert use.break_seconds() == 0
