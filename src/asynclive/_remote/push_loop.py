"""PushLoop: the event loop of the push thread. It can be closed right before the program ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any


class PushLoop(asyncio.SelectorEventLoop):
    """An event loop that, when it is closed, waits for the threads that still wake it.

    obstore has threads that Python does not know. Such a thread delivers a result by
    ``call_soon_threadsafe``, which lets go of the interpreter's lock when it wakes the loop. If the
    interpreter ends before the thread has the lock again, the process is aborted.
    """

    def __init__(self) -> None:
        super().__init__()
        # Held by a thread while it wakes the loop. No thread waits long: that takes microseconds.
        # A finalizer may wake the loop in the middle of that, in the same thread.
        self._wakes = threading.RLock()

    # The type of the standard library is generic in `args`, which Python 3.10 cannot express.
    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback from another thread."""
        with self._wakes:
            return super().call_soon_threadsafe(callback, *args, context=context)

    def close(self) -> None:
        """Close the loop once no other thread wakes it."""
        with self._wakes:
            super().close()
