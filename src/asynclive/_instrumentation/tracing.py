"""Spans of OpenTelemetry: one a call, in the caller's trace, and below it one a stage.

Only its API is used, and only where the program has imported it: who records spans has, and
where nobody does there is nothing to tell. So it costs one look into a dict a call otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from logging import getLogger
from typing import Any, TypeVar

T = TypeVar("T")

logger = getLogger(__name__)

_API = "opentelemetry.trace"

Attributes = dict[str, Any]


class CallTrace:
    """The spans of one call."""

    def __init__(self, api: Any, tracer: Any, span: Any) -> None:
        self._api = api
        self._tracer = tracer
        self._span = span
        self._context = api.set_span_in_context(span)
        self._stage: Any = None

    def enter(self, stage: str) -> None:
        """The stage before has ended, and this one begins."""
        _safely(lambda: self._enter(stage))

    def set(self, attributes: Attributes) -> None:
        """Say what is known by now, of the call and of its stage."""
        _safely(lambda: self._set(attributes))

    def end(self, outcome: str, error: Exception | None = None) -> None:
        """The call has ended, its stage with it; with an error, both failed."""
        _safely(lambda: self._end(outcome, error))

    def _enter(self, stage: str) -> None:
        if self._stage is not None:
            self._stage.end()
        self._stage = self._tracer.start_span(f"asynclive.{stage}", context=self._context)

    def _set(self, attributes: Attributes) -> None:
        known = _known(attributes)
        self._span.set_attributes(known)
        if self._stage is not None:
            self._stage.set_attributes(known)

    def _end(self, outcome: str, error: Exception | None) -> None:
        spans = [span for span in (self._stage, self._span) if span is not None]
        for span in spans:
            if error is not None:
                span.set_status(
                    self._api.Status(self._api.StatusCode.ERROR, _encodable(str(error)))
                )
        if error is not None:
            self._span.record_exception(error)
        self._span.set_attribute("asynclive.outcome", outcome)
        for span in spans:
            span.end()


def begin(name: str, attributes: Attributes) -> CallTrace | None:
    """Begin the span of a call, in the context of who calls; None: nobody records it."""
    api = sys.modules.get(_API)
    if api is None:
        return None
    return _safely(lambda: _begin(api, name, attributes))


def _begin(api: Any, name: str, attributes: Attributes) -> CallTrace | None:
    tracer = api.get_tracer("asynclive")
    span = tracer.start_span(name, attributes=_known(attributes))
    if not span.is_recording():
        return None
    return CallTrace(api, tracer, span)


def _known(attributes: Attributes) -> Attributes:
    return {
        f"asynclive.{key}": _encodable(value) if isinstance(value, str) else value
        for key, value in attributes.items()
        if value is not None
    }


def _encodable(text: str) -> str:
    """A file name need not be UTF-8, but whoever exports it needs it to be."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _safely(func: Callable[[], T]) -> T | None:
    """No fault of what records spans may lose an artifact."""
    try:
        return func()
    except Exception:
        logger.debug("A span could not be recorded.", exc_info=True)
        return None
