"""Errors of artifacts that nobody has awaited: they are raised on leaving the block."""

from __future__ import annotations

import sys
from logging import getLogger

from .call import Call

if sys.version_info < (3, 11):
    # Not installed where Python has its own.
    from exceptiongroup import ExceptionGroup  # type: ignore[import-not-found]

logger = getLogger(__name__)


class UnawaitedErrors:
    """The failed calls of one AsyncLive object whose callers went on."""

    def __init__(self) -> None:
        # Bounded by the failures nobody looks at, each of which is to be told.
        self._calls: dict[Call, None] = {}

    def add(self, call: Call) -> None:
        """It failed; whoever awaits it until the block is left is told by that."""
        self._calls[call] = None

    def raise_all(self) -> None:
        """Raise what nobody was told of, as one group."""
        errors = self._take()
        if errors:
            raise ExceptionGroup("Artifacts were not logged, and nobody awaited them", errors)

    def tell(self, exc: BaseException) -> None:
        """Say it in the log, and on an error that is on its way already."""
        for error in self._take():
            logger.error("An artifact that nobody awaited was not logged: %s", error)
            if sys.version_info >= (3, 11):
                exc.add_note(f"An artifact that nobody awaited was not logged: {error}")

    def _take(self) -> list[Exception]:
        errors = [call.error for call in self._calls if call.error is not None and not call.awaited]
        self._calls.clear()
        return errors
