"""Finishes the sessions whose block is still open when the interpreter ends.

A block may never be left: ``__enter__`` was called by hand and an exception came before
``__exit__``, or the block is in a daemon thread. Without this module, the program would end with 0,
and the artifacts that it submitted would be lost without a word.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from logging import getLogger
from typing import Protocol

from .._calls.unawaited_errors import describe_unfinished

logger = getLogger(__name__)

# Seconds in which pending artifacts are finished. Batch systems and containers kill a job some 30
# to 90 seconds after they asked it to end.
FINISH_SECONDS = 60.0
# Seconds for undoing the artifacts that were not finished. A thread may be in a system call.
CANCEL_SECONDS = 10.0


class OpenSession(Protocol):
    """A session, as this module uses it. Any thread may call these methods."""

    @property
    def has_ended(self) -> bool: ...

    @property
    def is_of_this_process(self) -> bool: ...

    def pending_paths(self) -> list[str]: ...

    def unpushed_paths(self) -> list[str]: ...

    def finish_soon(self) -> bool: ...

    def finish_in_stopped_loop(self, seconds: float) -> None: ...

    def cancel_soon(self) -> bool: ...

    def wait_until_ended(self, seconds: float) -> bool: ...


class _ExitHook:
    """The open sessions of a process, and what happens to them at its end."""

    def __init__(self) -> None:
        self._process = 0
        # Bounded by the program, which opens them. Those that have ended are removed.
        self._sessions: dict[OpenSession, None] = {}

    def add(self, session: OpenSession) -> None:
        self.remove_ended()
        self._sessions[session] = None
        if self._process != os.getpid():  # also in a forked child
            self._process = os.getpid()
            _call_before_threads_are_joined(self.run_stopped_loops)
            _call_at_exit(self.finish_all)

    def remove_ended(self) -> None:
        for session in [session for session in self._sessions if session.has_ended]:
            self._sessions.pop(session, None)

    def run_stopped_loops(self) -> None:
        """Finish the sessions whose event loop was stopped inside their block.

        Their threads end with them, and the interpreter waits for these threads before it calls
        the functions of atexit.
        """
        for session in list(self._sessions):
            if session.is_of_this_process:
                try:
                    session.finish_in_stopped_loop(FINISH_SECONDS)
                except KeyboardInterrupt:
                    pass  # the user does not want to wait
                except Exception:
                    logger.exception("A block of AsyncLive was not ended in its event loop.")

    def finish_all(self) -> None:
        """Finish the pending artifacts, and name those that could not be finished in time."""
        self.remove_ended()
        sessions = [session for session in self._sessions if session.is_of_this_process]
        pending = sum(
            len(session.pending_paths()) + len(session.unpushed_paths()) for session in sessions
        )
        running = [session for session in sessions if session.finish_soon()]
        try:
            if pending and running:
                logger.warning(
                    "The program ends inside a block of AsyncLive. Up to %g seconds remain for "
                    "its pending artifacts (%s).",
                    *(FINISH_SECONDS, f"{pending:,}"),
                )
            _wait(running, FINISH_SECONDS)
        except KeyboardInterrupt:
            pass  # the user does not want to wait
        finally:
            for session in running:
                if not session.has_ended:
                    session.cancel_soon()
            try:
                _wait(running, CANCEL_SECONDS)
            finally:
                for session in sessions:
                    _name_pending(session)


def _wait(sessions: Iterable[OpenSession], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for session in sessions:
        session.wait_until_ended(max(0.0, deadline - time.monotonic()))


def _name_pending(session: OpenSession) -> None:
    paths, unpushed = session.pending_paths(), session.unpushed_paths()
    if (paths or unpushed) and not session.has_ended:
        logger.warning(
            "The block of AsyncLive was never left. %s", describe_unfinished(paths, unpushed)
        )


def _call_before_threads_are_joined(func: Callable[[], None]) -> None:
    # concurrent.futures does so too. A Python without this function joins the threads first.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(func)


def _call_at_exit(func: Callable[[], None]) -> None:
    """Call ``func`` when the program has ended its non-daemon threads, which may use sessions."""
    atexit.register(func)
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # A child that was forked by multiprocessing calls these functions and not those of atexit.
        from multiprocessing.util import Finalize

        Finalize(None, func, exitpriority=0)


EXIT_HOOK = _ExitHook()
