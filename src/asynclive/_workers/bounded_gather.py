"""Runs jobs concurrently, at most a given number at a time; the first error stops the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


async def run_together(jobs: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """Run every job, at most ``at_once`` at a time, and return the results in no given order.

    The first error cancels the other jobs. It is raised, alone, once all of them have ended.
    """
    results: list[T] = []
    errors: list[Exception] = []
    remaining = iter(jobs)

    async def run_from(job: Callable[[], Awaitable[T]] | None) -> None:
        try:
            while job is not None:
                results.append(await job())
                # A job that was cancelled may return a result instead of raising.
                await anyio.lowlevel.checkpoint_if_cancelled()
                job = next(remaining, None)
        except Exception as error:
            errors.append(error)
            task_group.cancel_scope.cancel()

    async with anyio.create_task_group() as task_group:
        for job in islice(remaining, at_once):
            task_group.start_soon(run_from, job)
    if errors:
        raise errors[0]
    return results
