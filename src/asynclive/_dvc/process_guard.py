"""Keeps DVC from changing the process, and from running in two threads at once.

``import dvc`` sets the process up for a command line: it gives its loggers handlers that
write to stdout, silences the loggers of asyncio and aiohttp, and wraps the standard streams
(``dvc.logger.setup``, ``colorama.init``). A library must do none of that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator

_LOGGERS = ("dvc", "dvc_data", "dvc_objects", "asyncio", "aiohttp")


@contextlib.contextmanager
def preserve_process_settings() -> Iterator[None]:
    """Undo, at the end of the block, the process settings that the first import of DVC changes.

    If the application imported DVC before the block, it wants DVC's settings: nothing is undone.
    """
    if "dvc" in sys.modules:
        yield
        return
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    streams = sys.stdout, sys.stderr
    # colorama asks each stream whether it is a terminal. A closed stream raises then.
    if _is_closed(sys.stdout):
        sys.stdout = None
    if _is_closed(sys.stderr):
        sys.stderr = None
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            for handler in list(logger.handlers):
                if handler not in handlers:
                    logger.removeHandler(handler)
        if sys.stdout is None or _is_colorama(sys.stdout):
            sys.stdout = streams[0]
        if sys.stderr is None or _is_colorama(sys.stderr):
            sys.stderr = streams[1]


@contextlib.contextmanager
def mute_logger(name: str) -> Iterator[None]:
    """Drop the records of the one logger ``name`` during the block; change no handler or level."""
    logger = logging.getLogger(name)

    def drop(_record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


@contextlib.contextmanager
def mute_dvc() -> Iterator[None]:
    """Let DVC write no log record and draw no progress bar during the block: its level decides."""
    loggers = [logging.getLogger(name) for name in _LOGGERS if name.startswith("dvc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_closed(stream: object) -> bool:
    return bool(getattr(stream, "closed", False))


def _is_colorama(stream: object) -> bool:
    return type(stream).__module__.startswith("colorama")


@contextlib.contextmanager
def _working_directory() -> Iterator[None]:
    """Give this thread a working directory for the block, if that of the process was removed.

    DVC makes paths relative to it, whether they need it or not. The paths that asynclive passes to
    DVC are absolute.
    """
    try:
        os.getcwd()
    except OSError:
        pass
    else:
        yield
        return
    getcwd, thread = os.getcwd, threading.get_ident()

    def getcwd_or_top() -> str:
        if threading.get_ident() != thread:
            return getcwd()
        return os.path.abspath(os.sep)

    os.getcwd = getcwd_or_top
    try:
        yield
    finally:
        os.getcwd = getcwd


class ProcessGuard:
    """Admits one thread of this process to DVC's code at a time.

    DVC keeps state for the whole process (the umask, its memory file system, its ignore caches)
    and guards none of it. So the limit holds for all AsyncLive objects and event loops together.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Admit this thread to DVC's code for the duration of the block. Blocks when entered."""
        with self._lock, _working_directory():
            yield

    def locked(self) -> bool:
        """Return whether a thread is in DVC's code."""
        return self._lock.locked()

    def reset_after_fork(self) -> None:
        """Start again with a free lock: no thread of the parent exists in the child to release it.

        A block that was entered before the fork still releases the lock that it acquired.
        """
        self._lock = threading.Lock()


dvc_guard = ProcessGuard()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=dvc_guard.reset_after_fork)
