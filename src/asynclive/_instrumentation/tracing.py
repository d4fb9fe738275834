"""OpenTelemetry spans: one for each call, in the trace of its caller, its stages and its push.

This module uses only OpenTelemetry's API, and only if the program has imported it: a program that
records spans has. Otherwise a call costs one lookup in ``sys.modules``.
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
        self.context: Any = api.set_span_in_context(span)
        self._stage: Any = None

    def enter(self, stage: str) -> None:
        """End the span of the previous stage, and begin that of ``stage``."""
        _safely(lambda: self._enter(stage))

    def set(self, attributes: Attributes) -> None:
        """Set attributes of the spans of the call and of its stage. None is left out."""
        _safely(lambda: self._set(attributes))

    def end(self, outcome: str, error: Exception | None = None) -> None:
        """End the spans of the call and of its stage. With ``error``, both have failed."""
        _safely(lambda: self._end(outcome, error))

    def _enter(self, stage: str) -> None:
        if self._stage is not None:
            self._stage.end()
        self._stage = self._tracer.start_span(f"asynclive.{stage}", context=self.context)

    def _set(self, attributes: Attributes) -> None:
        prefixed = _span_attributes(attributes)
        self._span.set_attributes(prefixed)
        if self._stage is not None:
            self._stage.set_attributes(prefixed)

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


def begin(name: str, attributes: Attributes, parent: CallTrace | None = None) -> CallTrace | None:
    """Begin the span of a call or a push. Return None if spans are not recorded.

    Args:
        name: the name of the span.
        attributes: its attributes, without prefix.
        parent: the call that it belongs to; None: the current context has its parent.
    """
    api = sys.modules.get(_API)
    if api is None:
        return None
    return _safely(lambda: _begin(api, name, attributes, parent))


def _begin(
    api: Any, name: str, attributes: Attributes, parent: CallTrace | None
) -> CallTrace | None:
    tracer = api.get_tracer("asynclive")
    context = None if parent is None else parent.context
    span = tracer.start_span(name, context=context, attributes=_span_attributes(attributes))
    if not span.is_recording():
        return None
    return CallTrace(api, tracer, span)


def _span_attributes(attributes: Attributes) -> Attributes:
    """Return the attributes that are not None, with prefixed names."""
    return {
        f"asynclive.{key}": _encodable(value) if isinstance(value, str) else value
        for key, value in attributes.items()
        if value is not None
    }


def _encodable(text: str) -> str:
    """Return ``text`` as valid UTF-8. File names need not be, but exporters fail if it is not."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _safely(func: Callable[[], T]) -> T | None:
    """Call ``func``; log an error and return None. A failing exporter must not lose an artifact."""
    try:
        return func()
    except Exception:
        logger.debug("OpenTelemetry failed to record a span.", exc_info=True)
        return None
