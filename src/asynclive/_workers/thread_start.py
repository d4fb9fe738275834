"""Runs functions in threads on a system that may refuse another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from .._errors import ResourceLimitError

T = TypeVar("T")


@contextmanager
def refusal_as_error() -> Iterator[None]:
    """Raise a typed error in place of Python's own if the system refuses another thread.

    Raises:
        ResourceLimitError: it does.
    """
    try:
        yield
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise ResourceLimitError from error


class _Running:
    """The calls of ``run_in_thread`` on one event loop that run, or are about to."""

    def __init__(self) -> None:
        self.count = 0
        # Set when one of them ends: others wait for its thread. None: none waits.
        self.ended: anyio.Event | None = None


_running: RunVar[_Running] = RunVar("asynclive._workers.thread_start")


async def run_in_thread(func: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Run ``func``, which must not take for ever, as ``anyio.to_thread.run_sync`` does.

    If the system refuses another thread, this waits for one that becomes free.

    Raises:
        ResourceLimitError: no other call is running whose thread could become free.
    """
    running = _running.get(None)
    if running is None:
        running = _Running()
        _running.set(running)
    while True:
        running.count += 1
        try:
            with refusal_as_error():
                return await anyio.to_thread.run_sync(func, limiter=limiter)
        except ResourceLimitError:
            if running.count == 1:
                raise
        finally:
            running.count -= 1
            if running.ended is not None:
                running.ended.set()
                running.ended = None
        running.ended = running.ended or anyio.Event()
        await running.ended.wait()


async def run_in_any_thread(func: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Run ``func`` in a thread; in this one, if the system refuses another thread.

    For steps that must not fail halfway, and for clearing up: the event loop stands still for them.
    """
    try:
        return await run_in_thread(func, limiter)
    except ResourceLimitError:
        async with limiter:
            return func()
