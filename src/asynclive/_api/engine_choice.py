"""isolation= and ASYNCLIVE_ISOLATION: choose the engine of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .._dvclive.experiment import SessionExperiment
from .._engine.interface import Engine, Listener, MakeEngine
from .._engine.session import make_local_engine
from .._engine.settings import Settings
from .._instrumentation.statistics import Counters
from .._workers.helper_process import can_start, start_seconds
from .._workers.processors import read_quota

VARIABLE = "ASYNCLIVE_ISOLATION"

Isolation = Literal["thread", "process"]


def choose_isolation(given: str | None, environment: Mapping[str, str]) -> Isolation:
    """Return ``given``; else the value of the environment; else a process, if one can be started.

    Threads share the interpreter with the caller's event loop, and each waits for the other. While
    the loop runs Python code all the time, threads take a hundred times as long as a process
    (perf/benches/isolation.py).

    Raises:
        ValueError: there is no such isolation, or no interpreter to start.
    """
    source, isolation = "isolation", given
    if given is None and environment.get(VARIABLE):
        source, isolation = VARIABLE, environment[VARIABLE]
    if isolation is None:
        isolation = "process" if can_start() else "thread"
    if isolation not in ("thread", "process"):
        raise ValueError(f"{source} must be 'thread' or 'process', not {isolation!r}")
    if isolation == "process" and not can_start():
        raise ValueError(
            f"{source}='process' starts a Python interpreter, and this program, which embeds "
            f"Python or was frozen, has none. Use {source}='thread'."
        )
    start_seconds()  # refuses a value of the environment that is no time
    return "process" if isolation == "process" else "thread"


def engine_maker(isolation: Isolation) -> MakeEngine:
    """Return the function that makes the engine. Call that in a thread: its imports take long."""
    return _make_process_engine if isolation == "process" else make_local_engine


def _make_process_engine(
    settings: Settings, counters: Counters, listener: Listener, experiment: SessionExperiment
) -> Engine:
    from .._isolation.process_engine import ProcessEngine

    read_quota()
    return ProcessEngine(settings, counters, listener, experiment)
