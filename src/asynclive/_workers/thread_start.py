"""Runs functions in threads on a system that may refuse another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

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


async def run_in_thread(func: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Run ``func`` in a thread, as ``anyio.to_thread.run_sync`` does.

    Raises:
        ResourceLimitError: the system refuses another thread.
    """
    with refusal_as_error():
        return await anyio.to_thread.run_sync(func, limiter=limiter)


async def run_in_any_thread(func: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Run ``func`` in a thread; in this one, if the system refuses another thread.

    For steps that must not fail halfway, and for clearing up: the event loop stands still for them.
    """
    try:
        return await run_in_thread(func, limiter)
    except ResourceLimitError:
        async with limiter:
            return func()
