"""Calls and pushes that failed or were dropped, and that no task awaited. Leaving reports them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from logging import getLogger
from operator import attrgetter

from .call import Call
from .push import Push

if sys.version_info < (3, 11):
    # Not installed where Python has its own.
    from exceptiongroup import ExceptionGroup  # type: ignore[import-not-found]

logger = getLogger(__name__)


# A message names so many paths of dropped calls. The first ones tell which part of a program is
# concerned; thousands would hide the rest of the message.
_NAMED_PATHS = 20


class UnawaitedErrors:
    """The calls of one session that were not logged or not pushed, and whose callers did not wait.

    A call or push has failed, or it was dropped: the block ended before it did.

    Args:
        keeps_push_errors: whether leaving the block does not raise the errors of pushes.
    """

    def __init__(self, *, keeps_push_errors: bool = False) -> None:
        self._keeps_push_errors = keeps_push_errors
        # Bounded by the calls of the session that were not logged: each must be reported once.
        self._failed: dict[Call, None] = {}
        self._dropped: dict[Call, None] = {}
        # Bounded by the pushes of the session that failed. By path.
        self._failed_pushes: dict[str, list[Push]] = {}
        self._dropped_pushes: dict[Push, None] = {}

    def add(self, call: Call) -> None:
        """Remember a call that was submitted, if it was not logged and its caller may not know."""
        if call.stage == "failed":
            self._failed[call] = None
        elif call.stage == "cancelled" and not call.cancel_requested:
            self._dropped[call] = None

    def add_push(self, push: Push) -> None:
        """Remember a push of an artifact, if it did not succeed and its caller may not know."""
        if push.path is None:
            return  # its caller has waited for it
        if push.stage == "failed":
            self._failed_pushes.setdefault(push.path, []).append(push)
        elif push.stage == "cancelled" and not push.cancel_requested:
            self._dropped_pushes[push] = None

    def forget_pushes(self, path: str) -> None:
        """Forget the errors of pushes of an artifact: another push goes on in their place."""
        self._failed_pushes.pop(path, None)

    def raise_group(self) -> None:
        """Raise the errors that no caller has seen, as one ExceptionGroup."""
        errors, push_errors = self._take_errors(), self._take_push_errors()
        if self._keeps_push_errors:
            for error in push_errors:
                logger.warning("%s", _describe_push_error(error))
            push_errors = []
        if errors or push_errors:
            kinds = " or ".join(
                kind for kind, any_of in (("logged", errors), ("pushed", push_errors)) if any_of
            )
            raise ExceptionGroup(
                f"Artifacts were not {kinds}, and no task awaited them", errors + push_errors
            )

    def report(self, exc: BaseException | None) -> None:
        """Log these errors and the paths of dropped calls, and add them as notes to ``exc``.

        Args:
            exc: the exception that ended the block; None: it was never left.
        """
        for error in self._take_errors():
            message = f"An artifact that no task awaited was not logged: {error}"
            logger.error("%s", message)
            _add_note(exc, message)
        for error in self._take_push_errors():
            message = _describe_push_error(error)
            logger.error("%s", message)
            _add_note(exc, message)
        self.report_dropped(exc)

    def report_dropped(self, exc: BaseException | None) -> None:
        """Log the paths of dropped calls and pushes, and add them as a note to ``exc``."""
        dropped = [call for call in self._dropped if not call.is_reported]
        self._dropped.clear()
        paths = [call.request.given for call in sorted(dropped, key=attrgetter("number"))]
        not_pushed = [push for push in self._dropped_pushes if not push.is_reported]
        self._dropped_pushes.clear()
        # Two versions of one artifact may both be in flight.
        pushed_paths = [
            *dict.fromkeys(
                push.path
                for push in sorted(not_pushed, key=attrgetter("number"))
                if push.path is not None
            )
        ]
        if paths or pushed_paths:
            how = (
                "ended, and it was never left"
                if exc is None
                else f"was ended by {type(exc).__name__}"
            )
            message = f"The block of AsyncLive {how}. {describe_unfinished(paths, pushed_paths)}"
            # At this level, Python shows it on stderr if the program does not configure logging.
            logger.warning("%s", message)
            _add_note(exc, message)

    def _take_errors(self) -> list[Exception]:
        errors = [
            call.error for call in self._failed if call.error is not None and not call.is_awaited
        ]
        self._failed.clear()
        return errors

    def _take_push_errors(self) -> list[Exception]:
        errors = [
            push.error
            for pushes in self._failed_pushes.values()
            for push in pushes
            if push.error is not None and not push.is_awaited
        ]
        self._failed_pushes.clear()
        return errors


def describe_unfinished(paths: Sequence[str], pushed_paths: Sequence[str] = ()) -> str:
    """Return sentences that name artifacts that were not logged, and those that were not pushed."""
    sentences = []
    if paths:
        sentences.append(f"Submitted artifacts that were not logged {_list_paths(paths)}.")
    if pushed_paths:
        sentences.append(
            f"Committed artifacts that were not pushed {_list_paths(pushed_paths)}. "
            "'asynclive push' pushes them."
        )
    return " ".join(sentences)


def _list_paths(paths: Sequence[str]) -> str:
    named = ", ".join(f"'{path}'" for path in paths[:_NAMED_PATHS])
    more = len(paths) - _NAMED_PATHS
    return f"({len(paths):,}): {named}{f' and {more:,} more' if more > 0 else ''}"


def _describe_push_error(error: Exception) -> str:
    return f"An artifact was committed and not pushed, and no task awaited its push: {error}"


def _add_note(exc: BaseException | None, note: str) -> None:
    if exc is not None and sys.version_info >= (3, 11):
        exc.add_note(note)
