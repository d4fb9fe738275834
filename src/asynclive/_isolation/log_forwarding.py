"""Log records of the worker, handled by the parent."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .channel import Channel
from .messages import LogRecord

logger = logging.getLogger(__name__)

# Limit on queued messages. A log record beyond it is dropped and counted: a worker that logs faster
# than the parent reads must not fill the memory.
_MAX_QUEUED = 1000

_PLAIN_TYPES = (str, int, float, type(None))

# The attributes of a log record that are sent. Not sent: objects of this process, such as
# ``exc_info``, and attributes that other packages have added.
_SENT_ATTRIBUTES = (
    *("name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "lineno"),
    *("funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName"),
    *("process", "taskName", "exc_text", "stack_info"),
)

_formatter = logging.Formatter()


def portable_record(record: logging.LogRecord) -> LogRecord:
    """Return the record in a form that pickles.

    Its traceback becomes text. If its arguments are not plain, they are merged into its message.
    """
    values = {name: vars(record)[name] for name in _SENT_ATTRIBUTES if name in vars(record)}
    if record.exc_info:
        values["exc_text"] = record.exc_text or _formatter.formatException(record.exc_info)
    args = record.args
    if not isinstance(args, tuple) or not all(isinstance(arg, _PLAIN_TYPES) for arg in args):
        values["msg"], values["args"] = record.getMessage(), ()
    return LogRecord(values)


@contextmanager
def forward_records(channel: Channel, level: int) -> Iterator[None]:
    """Send the records of all loggers to the parent, inside the block.

    Args:
        channel: leads to the parent.
        level: the minimum level of records of asynclive.
    """
    handler = _ForwardingHandler(channel)
    root = logging.getLogger()
    logging.getLogger("asynclive").setLevel(level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _ForwardingHandler(logging.Handler):
    """Posts each record to a channel, on the event loop on which the handler was made."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        message = portable_record(record)
        if threading.get_ident() == self._loop_thread:
            self._post(message)
        else:
            self._loop.call_soon_threadsafe(self._post, message)

    def _post(self, message: LogRecord) -> None:
        if self._channel.queue_length >= _MAX_QUEUED:
            self._dropped += 1
            return
        self._channel.post(message)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            logger.warning("%d log records were dropped: there were too many at once.", dropped)
