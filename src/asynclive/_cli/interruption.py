"""Cancels the work of a command on SIGINT, SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Protocol

import anyio
import anyio.abc


class Interruptible(Protocol):
    """The report of a command."""

    signal: int | None
    """The signal that interrupted the command."""


async def cancel_on_signal(
    work: anyio.CancelScope, report: Interruptible, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    """Cancel ``work`` at the first signal, and end the process at the second one."""
    try:
        with anyio.open_signal_receiver(*_signals()) as received:
            task_status.started()
            async for number in received:
                if report.signal is not None:
                    # A second signal: end at once. The next session removes the temp files.
                    signal.signal(number, signal.SIG_DFL)
                    os.kill(os.getpid(), number)
                report.signal = number
                work.cancel()
    except NotImplementedError:  # on Windows, KeyboardInterrupt is raised instead
        task_status.started()


def _signals() -> Iterator[signal.Signals]:
    """Yield the signals that interrupt, except ignored ones.

    ``nohup`` ignores SIGHUP, and a shell ignores SIGINT for background jobs.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            yield number
