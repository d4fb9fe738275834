"""Log records of the worker, handled by the parent."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .channel import Channel
from .messages import Record

logger = logging.getLogger(__name__)

_PLAIN = (str, int, float, type(None))


def portable_record(record: logging.LogRecord) -> Record:
    """The record, with its traceback as text, and with its arguments where they are plain."""
    values = {name: vars(record)[name] for name in _RECORDED if name in vars(record)}
    if record.exc_info:
        values["exc_text"] = record.exc_text or _formatter.formatException(record.exc_info)
    args = record.args
    if not isinstance(args, tuple) or not all(isinstance(arg, _PLAIN) for arg in args):
        values["msg"], values["args"] = record.getMessage(), ()
    return Record(values)


_formatter = logging.Formatter()


# Less what is an object of this process, and what others have added.
_RECORDED = (
    *("name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "lineno"),
    *("funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName"),
    *("process", "taskName", "exc_text", "stack_info"),
)


# Log records that wait to be sent, at most; those beyond are dropped, and counted.
_MAX_WAITING = 1000


@contextmanager
def records_sent_to(channel: Channel, level: int) -> Iterator[None]:
    """Send the records of all loggers, as each would have had them where the block is."""
    handler = _SendingHandler(channel)
    root = logging.getLogger()
    logging.getLogger("asynclive").setLevel(level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _SendingHandler(logging.Handler):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        message = portable_record(record)
        if threading.get_ident() == self._thread:
            self._post(message)
        else:
            self._loop.call_soon_threadsafe(self._post, message)

    def _post(self, message: Record) -> None:
        if self._channel.waiting >= _MAX_WAITING:
            self._dropped += 1
            return
        self._channel.post(message)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            logger.warning("%d log records were dropped: there were too many at once.", dropped)
