"""DvcThread: one thread at a time calls DVC, because DVC's classes are not thread-safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class DvcThread:
    """Runs functions in a worker thread, one at a time in this session."""

    def __init__(self) -> None:
        self.limiter = anyio.CapacityLimiter(1)

    async def run(self, func: Callable[[], T]) -> T:
        """Call ``func`` in the thread, and return its result.

        Cancellation: waits for ``func``, unless it has not begun.
        """
        return await anyio.to_thread.run_sync(func, limiter=self.limiter)
