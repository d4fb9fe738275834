"""Run one call in its own task and cancel it in one of three ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from backends import on_every_loop as on_every_loop
from backends import three_ways as three_ways
from settling import settled as settled

from asynclive import ArtifactCancelledError, AsyncLive, LoggedArtifact


async def submitted(live: AsyncLive, *args: Any, **values: Any) -> LoggedArtifact:
    """Submit an artifact and await it. A cancellation cancels the submission, or the handle."""
    handle = await live.submit(*args, **values)
    try:
        return await handle
    except BaseException:
        handle.cancel()
        with anyio.CancelScope(shield=True), contextlib.suppress(ArtifactCancelledError):
            await handle
        raise


class Call:
    """A call and its outcome: a result, an error, or a cancellation."""

    def __init__(self, way: str, func: Callable[[], Awaitable[Any]]) -> None:
        self.ended = False
        self.cancelled = False
        self.result: Any = None
        self.error: Exception | None = None
        self._way = way
        self._func = func
        self._scope = anyio.CancelScope()
        self._task: asyncio.Future[Any] | None = None
        self._timeout: asyncio.Future[Any] | None = None

    def cancel(self) -> None:
        if self._way == "scope":
            self._scope.cancel()
            return
        assert self._task is not None
        if self._way == "task.cancel":
            self._task.cancel()
        else:  # wait_for cancels its awaitable when its time is up: here at once
            self._timeout = asyncio.ensure_future(asyncio.wait_for(self._task, 0))

    async def run(self) -> None:
        with self._scope:
            try:
                self.result = await self._run()
            except Exception as error:
                self.error = error
        self.cancelled = self.cancelled or self._scope.cancelled_caught
        self.ended = True

    async def _run(self) -> Any:
        if self._way == "scope":
            return await self._func()
        self._task = asyncio.ensure_future(self._func())
        await asyncio.wait({self._task})
        if self._timeout is not None:
            with contextlib.suppress(Exception):
                await self._timeout
        self.cancelled = self._task.cancelled()
        return None if self.cancelled else self._task.result()


@asynccontextmanager
async def in_task(way: str, func: Callable[[], Awaitable[Any]]) -> AsyncIterator[Call]:
    """Run the call until it waits, then the block; leave the block once the call has ended."""
    call = Call(way, func)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(call.run)
        await settled()
        yield call
