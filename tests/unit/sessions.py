"""Sessions of other processes, and crash recovery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from session_process import Process, running

from asynclive._workspace.crash_recovery import remove_dead_sessions

# A program with a session, which puts some files of 5 bytes into its directories.
HOLD = """
import os, sys
from asynclive._workspace.temp_session import TempSession

session = TempSession.start(sys.argv[1], sys.argv[2])
for directory in (session.cache_tmp, session.workspace_tmp):
    os.mkdir(f"{directory}/below")
    for path in (f"{directory}/half", f"{directory}/below/half"):
        with open(path, "w") as file:
            file.write("bytes")
print("started", flush=True)
sys.stdin.read()
session.close()
"""


@contextmanager
def other_session(cache: Path, tmp: Path) -> Iterator[Process]:
    with running(HOLD, cache, tmp) as process:
        assert process.line() == "started"
        yield process


def clear_up(*places: Path) -> None:
    remove_dead_sessions([str(place) for place in places])


def make_silent(*places: Path, seconds: float = 3600) -> None:
    """Set all timestamps back: nothing has been touched since."""
    for place in places:
        for path in sorted(place.rglob("*"), reverse=True):
            then = path.lstat().st_mtime - seconds
            os.utime(path, (then, then), follow_symlinks=False)


def names(*places: Path) -> list[str]:
    return [path.name for place in places for path in sorted(place.rglob("*"))]
