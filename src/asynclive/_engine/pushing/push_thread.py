"""PushThread: an event loop of asyncio in a thread of its own, which does all the sending.

The session may run on trio, and its loop must not be held up by thousands of requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.abc
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..._calls.home_loop import HomeLoop
from ..._workers.thread_start import refusal_as_error, run_in_any_thread, run_in_thread

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class PushThread:
    """Runs async functions in its loop for tasks of another loop. Made in that other loop.

    The thread starts with the first function.
    """

    def __init__(self) -> None:
        self._home = HomeLoop()
        self._home.claim("Making a push thread")
        self._limiter = anyio.CapacityLimiter(1)  # the thread that starts and ends this one
        self._starting = anyio.Lock()  # protects ``_opened`` while one task starts the thread
        self._opened: _Opened | None = None

    async def run(self, func: Callable[[], Awaitable[T]]) -> T:
        """Run an async function in the loop of the thread; return its result, or raise its error.

        Raises:
            ResourceLimitError: the system refuses the thread.

        Cancellation: cancels the function, and waits until it has ended. This includes the native
            cancellation of asyncio, which passes through shields.
        """
        async with self._starting:
            if self._opened is None:
                # Without the context of this task, which says that trio runs it.
                await run_in_thread(partial(Context().run, self._open), self._limiter)
        opened = self._opened
        assert opened is not None
        job = _Job(func, self._home)
        opened.call_soon(job.start, opened.tasks)
        await job.wait(opened)
        return job.result()

    async def aclose(self) -> None:
        """End the thread. No function is in flight."""
        if self._opened is not None:
            await run_in_any_thread(self._close, self._limiter)

    def _open(self) -> None:
        # Late: it imports asyncio, which a session on trio may not need.
        from ..._remote.push_loop import PushLoop

        context = start_blocking_portal("asyncio", {"loop_factory": PushLoop})
        with refusal_as_error():
            portal = context.__enter__()
        # Not by the portal itself: it blocks the calling thread until its loop has answered.
        _, loop = portal.start_task(_own_tasks)
        self._opened = _Opened(context, *loop)

    def _close(self) -> None:
        opened = self._opened
        assert opened is not None
        opened.call_soon(opened.closed.set)
        opened.portal_context.__exit__(None, None, None)


@dataclass(frozen=True)
class _Opened:
    """The loop of the thread, once it runs."""

    portal_context: AbstractContextManager[BlockingPortal]
    """Keeps the loop running until it is left."""
    loop: asyncio.AbstractEventLoop
    loop_context: Context
    """The context of its tasks, which says that asyncio runs them."""
    tasks: anyio.abc.TaskGroup
    closed: anyio.Event

    def call_soon(self, func: Callable[..., object], *args: Any) -> None:
        """Call a function in the loop, unless the loop has ended with the program."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(func, *args, context=self.loop_context)


async def _own_tasks(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
    """Own the tasks of the thread until it is closed."""
    import asyncio

    async with anyio.create_task_group() as tasks:
        closed = anyio.Event()
        task_status.started((asyncio.get_running_loop(), copy_context(), tasks, closed))
        await closed.wait()


class _Job(Generic[T]):
    """One function that runs in the thread, for a task of the home loop."""

    def __init__(self, func: Callable[[], Awaitable[T]], home: HomeLoop) -> None:
        self._func = func
        self._home = home
        self._ended = anyio.Event()  # of the home loop
        self._scope: anyio.CancelScope | None = None  # of the thread's loop
        self._is_cancelled = False
        self._results: list[T] = []
        self._error: BaseException | None = None

    # These three run in the loop of the thread.

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Run the function in a task."""
        try:
            tasks.start_soon(self._run)
        except BaseException as error:  # otherwise the home loop would wait for ever
            self._error = error
            self._home.call_soon(self._ended.set)

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                self._results.append(await self._func())
        except BaseException as error:  # an error raised here would end the other functions
            self._error = error
        finally:
            self._home.call_soon(self._ended.set)

    def _cancel(self) -> None:
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    # These two run in the home loop.

    async def wait(self, opened: _Opened) -> None:
        """Wait until the function has ended.

        Cancellation: takes effect after the wait, and cancels the function.
        """
        interruption: BaseException | None = None
        try:
            await self._ended.wait()
        except GeneratorExit:  # this coroutine is dropped: nothing can wait any more
            opened.call_soon(self._cancel)
            raise
        except BaseException as error:
            interruption = error
            opened.call_soon(self._cancel)
        with anyio.CancelScope(shield=True):
            while not self._ended.is_set():
                try:
                    await self._ended.wait()
                except GeneratorExit:
                    raise
                except BaseException as error:
                    interruption = error
        if interruption is not None:
            raise interruption

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]
