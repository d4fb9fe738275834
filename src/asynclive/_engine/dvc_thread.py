"""DvcThread: one thread at a time calls DVC, because DVC's classes are not thread-safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from .._workers.thread_start import run_in_any_thread

T = TypeVar("T")


class DvcThread:
    """Runs functions in a worker thread, one at a time in this session."""

    def __init__(self) -> None:
        self.limiter = anyio.CapacityLimiter(1)

    async def run(self, func: Callable[[], T]) -> T:
        """Call ``func`` in the thread, and return its result.

        If the system refuses a thread, ``func`` runs in that of the event loop: a commit must not
        stop halfway.

        Cancellation: waits for ``func``, unless it has not begun.
        """
        return await run_in_any_thread(func, self.limiter)
