"""Where the work is done, if the caller does not say: in a process, for the loop's sake."""

from __future__ import annotations

import sys
from collections.abc import Mapping

VARIABLE = "ASYNCLIVE_ISOLATION"
_ISOLATIONS = ("thread", "process")


def isolation_of(given: str | None, environment: Mapping[str, str]) -> str:
    """What is given; else what the environment says; else a process, where one can be started.

    Threads share the interpreter with the caller's loop, and each waits for the other: beside a
    loop that is busy with Python they take a hundred times as long (perf/isolation.py).

    Raises:
        ValueError: there is no such isolation, or not in this interpreter.
    """
    what, isolation = "isolation", given
    if given is None and environment.get(VARIABLE):
        what, isolation = VARIABLE, environment[VARIABLE]
    if isolation is None:
        return "process" if _can_start() else "thread"
    if isolation not in _ISOLATIONS:
        raise ValueError(f"{what} must be 'thread' or 'process', not {isolation!r}")
    if isolation == "process" and not _can_start():
        raise ValueError(
            f"{what}='process' starts a Python interpreter, and this program, which embeds "
            f"Python or was frozen, has none. Use {what}='thread'."
        )
    return isolation


def _can_start() -> bool:
    """Whether there is an interpreter to start: what embeds Python, or was frozen, has none."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)
