"""Errors of handles that were never awaited. Leaving the block raises them."""

from __future__ import annotations

import sys
from logging import getLogger

from .call import Call

if sys.version_info < (3, 11):
    # Not installed where Python has its own.
    from exceptiongroup import ExceptionGroup  # type: ignore[import-not-found]

logger = getLogger(__name__)


class UnawaitedErrors:
    """The failed calls of one session whose callers did not wait."""

    def __init__(self) -> None:
        # Bounded by the failed calls of the session: each error must be reported once.
        self._calls: dict[Call, None] = {}

    def add(self, call: Call) -> None:
        """Remember a failed call. Its error is raised at the end if no task awaits the handle."""
        self._calls[call] = None

    def raise_group(self) -> None:
        """Raise the errors that no caller has seen, as one ExceptionGroup."""
        errors = self._take()
        if errors:
            raise ExceptionGroup("Artifacts were not logged, and no task awaited them", errors)

    def log_and_note(self, exc: BaseException) -> None:
        """Log these errors, and add them as notes to ``exc``, which is being raised already."""
        for error in self._take():
            logger.error("An artifact that no task awaited was not logged: %s", error)
            if sys.version_info >= (3, 11):
                exc.add_note(f"An artifact that no task awaited was not logged: {error}")

    def _take(self) -> list[Exception]:
        errors = [
            call.error for call in self._calls if call.error is not None and not call.is_awaited
        ]
        self._calls.clear()
        return errors
