"""Calls that failed or were dropped, and that no task awaited. Leaving the block reports them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from logging import getLogger
from operator import attrgetter

from .call import Call

if sys.version_info < (3, 11):
    # Not installed where Python has its own.
    from exceptiongroup import ExceptionGroup  # type: ignore[import-not-found]

logger = getLogger(__name__)


# A message names so many paths of dropped calls. The first ones tell which part of a program is
# concerned; thousands would hide the rest of the message.
_NAMED_PATHS = 20


class UnawaitedErrors:
    """The calls of one session that were not logged, and whose callers did not wait.

    A call has failed, or it was dropped: the block ended before the call did.
    """

    def __init__(self) -> None:
        # Bounded by the calls of the session that were not logged: each must be reported once.
        self._failed: dict[Call, None] = {}
        self._dropped: dict[Call, None] = {}

    def add(self, call: Call) -> None:
        """Remember a call that was submitted, if it was not logged and its caller may not know."""
        if call.stage == "failed":
            self._failed[call] = None
        elif call.stage == "cancelled" and not call.cancel_requested:
            self._dropped[call] = None

    def raise_group(self) -> None:
        """Raise the errors that no caller has seen, as one ExceptionGroup."""
        errors = self._take_errors()
        if errors:
            raise ExceptionGroup("Artifacts were not logged, and no task awaited them", errors)

    def report(self, exc: BaseException | None) -> None:
        """Log these errors and the paths of dropped calls, and add them as notes to ``exc``.

        Args:
            exc: the exception that ended the block; None: it was never left.
        """
        for error in self._take_errors():
            message = f"An artifact that no task awaited was not logged: {error}"
            logger.error("%s", message)
            _add_note(exc, message)
        self.report_dropped(exc)

    def report_dropped(self, exc: BaseException | None) -> None:
        """Log the paths of dropped calls, and add them as a note to ``exc``; see ``report``."""
        dropped = [call for call in self._dropped if not call.is_reported]
        self._dropped.clear()
        paths = [call.request.given for call in sorted(dropped, key=attrgetter("number"))]
        if paths:
            how = (
                "ended, and it was never left"
                if exc is None
                else f"was ended by {type(exc).__name__}"
            )
            message = f"The block of AsyncLive {how}. {describe_paths(paths)}"
            # At this level, Python shows it on stderr if the program does not configure logging.
            logger.warning("%s", message)
            _add_note(exc, message)

    def _take_errors(self) -> list[Exception]:
        errors = [
            call.error for call in self._failed if call.error is not None and not call.is_awaited
        ]
        self._failed.clear()
        return errors


def describe_paths(paths: Sequence[str]) -> str:
    """Return a sentence that names artifacts that were submitted and not logged."""
    named = ", ".join(f"'{path}'" for path in paths[:_NAMED_PATHS])
    more = len(paths) - _NAMED_PATHS
    return (
        f"Submitted artifacts that were not logged ({len(paths):,}): {named}"
        f"{f' and {more:,} more' if more > 0 else ''}."
    )


def _add_note(exc: BaseException | None, note: str) -> None:
    if exc is not None and sys.version_info >= (3, 11):
        exc.add_note(note)
