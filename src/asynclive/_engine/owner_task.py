"""OwnerTask: a task of the event loop itself, which owns the tasks of one session.

A task group belongs to the task that enters it, which must also leave it. A block of AsyncLive may
be entered in one task and left in another: a fixture, an exit stack, the cells of a notebook, and a
generator that is closed by the garbage collector do this. So the task group is in a task of its
own.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    import asyncio


class Serve(Protocol):
    """A function that calls ``task_status.started()``, and then works until it is cancelled."""

    def __call__(self, *, task_status: anyio.abc.TaskStatus[None]) -> Coroutine[Any, Any, None]: ...


class OwnerTask:
    """Runs one function in a task of its own. Made on the event loop.

    Args:
        on_ended: called when the task has ended.
    """

    def __init__(self, on_ended: Callable[[], None]) -> None:
        self._on_ended = on_ended
        self._scope = anyio.CancelScope()
        self._begun = anyio.Event()  # or it never will
        self._ended = anyio.Event()
        # None until the task runs. Its direct children are the small tasks of the session.
        self._tasks: anyio.abc.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None  # asyncio keeps no reference to it
        self._error: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        """The error of the function. A cancellation is none."""
        return self._error

    async def start(self, serve: Serve) -> None:
        """Start the task; return once ``serve`` has called ``task_status.started()``.

        Raises:
            BaseException: the error of ``serve``, if it ends before.

        Cancellation: cancels the task, and waits until it has ended.
        """
        self._spawn(serve)
        try:
            await self._begun.wait()
        except BaseException:
            self.cancel()
            await self.wait()
            raise
        if self._error is not None:
            raise self._error

    def started(self, value: None = None) -> None:  # noqa: ARG002
        """Let ``start`` return: this object is the ``task_status``."""
        self._begun.set()

    def start_soon(self, func: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a function in a task that ends with this one at the latest."""
        assert self._tasks is not None
        self._tasks.start_soon(func)

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait until the task has ended, whatever happens to this one.

        Cancellation: takes effect after the wait, and cancels the task. This includes the native
        cancellation of asyncio, which passes through shields, and Ctrl-C on trio.
        """
        interruption: BaseException | None = None
        with anyio.CancelScope(shield=True):
            while not self._ended.is_set():
                try:
                    await self._ended.wait()
                except GeneratorExit:  # this coroutine is dropped: nothing can wait any more
                    raise
                except BaseException as error:
                    interruption = error
                    self.cancel()
        if interruption is not None:
            raise interruption

    def _spawn(self, serve: Serve) -> None:
        if _on_asyncio():
            import asyncio

            self._task = asyncio.get_running_loop().create_task(
                self._run(serve), name="asynclive session"
            )
        else:
            import trio

            # With the context of this task, as in a nursery: the spans of a trace are in it.
            trio.lowlevel.spawn_system_task(
                self._run, serve, name="asynclive session", context=copy_context()
            )

    async def _run(self, serve: Serve) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    await serve(task_status=self)
        except anyio.get_cancelled_exc_class():
            raise  # the event loop is being shut down
        except BaseException as error:
            # Not raised here: an error of a system task would end trio as a whole.
            self._error = unwrap(error)
            if isinstance(self._error, (KeyboardInterrupt, SystemExit)):
                self._raise_in_program(self._error)
        finally:
            self._begun.set()
            self._ended.set()
            self._on_ended()

    def _raise_in_program(self, error: BaseException) -> None:
        """Hand on an exception that ends the program, as of a signal handler.

        It was raised in the task that was running, and the program must get it.
        """
        if self._task is None:  # trio
            in_main_thread = threading.current_thread() is threading.main_thread()
            if isinstance(error, KeyboardInterrupt) and in_main_thread:
                signal.raise_signal(signal.SIGINT)  # trio raises it in the main task
        elif not self._scope.cancel_called and not (
            # Python 3.11. If the event loop is being shut down, it has raised the exception.
            hasattr(self._task, "cancelling") and self._task.cancelling()
        ):
            import asyncio

            # Out of the event loop: a task group would have put a group around it.
            asyncio.get_running_loop().call_soon(_raise, error)


def _raise(error: BaseException) -> None:
    raise error


def _on_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")  # its import takes 15 ms
    return asyncio is not None and anyio.get_cancelled_exc_class() is asyncio.CancelledError


def unwrap(error: BaseException) -> BaseException:
    """Return the single error in the groups that nested task groups put around it."""
    while isinstance(error, BaseException) and len(getattr(error, "exceptions", ())) == 1:
        error = error.exceptions[0]  # type: ignore[attr-defined]  # BaseExceptionGroup, 3.11
    return error
