"""ByteCounter: counts the bytes of one transfer of DVC's classes, and can stop it."""

from __future__ import annotations

import asyncio
from typing import Any

from fsspec.callbacks import Callback

from ...._remote.store import OnBytes


class _StoppedError(Exception):
    """The transfer was cancelled."""


class ByteCounter(Callback):  # type: ignore[misc]  # fsspec has no types
    """A callback of fsspec, which calls it in any thread. Made and closed on the push loop.

    Args:
        on_bytes: called on the push loop, until the counter is closed; None: nothing is counted.
    """

    def __init__(self, on_bytes: OnBytes | None = None) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._on_bytes = on_bytes
        self._counted = 0
        self._is_stopped = False

    def call(self, *_: Any, **__: Any) -> None:
        """Take note of the bytes so far. fsspec calls it after each part."""
        if self._is_stopped:
            raise _StoppedError("the transfer was cancelled")
        self._loop.call_soon_threadsafe(self._count, self.value)

    def stop(self) -> None:
        """Stop the transfer at its next part."""
        self._is_stopped = True

    def settle(self, total: int) -> None:
        """Close. The transfer is complete, so it has these bytes."""
        self._count(total)
        self.close()

    def close(self) -> None:
        """Count no more: a thread may still report bytes."""
        self._on_bytes = None

    def _count(self, total: int) -> None:
        if self._on_bytes is not None and total != self._counted:
            self._on_bytes(total - self._counted)
            self._counted = total
