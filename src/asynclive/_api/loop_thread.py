"""An event loop in a thread of its own, and how other threads call into it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from typing import TypeVar

from anyio.from_thread import BlockingPortal

from .._errors import NotActiveError
from .._workers.thread_start import refusal_as_error

T = TypeVar("T")


class LoopThread:
    """Runs an event loop from ``start`` to ``stop``. Any thread may call the other methods.

    Args:
        open_portal: ``anyio.from_thread.start_blocking_portal``, with its arguments.
    """

    def __init__(self, open_portal: Callable[[], AbstractContextManager[BlockingPortal]]) -> None:
        self._open_portal = open_portal
        # Keeps the loop running until it is left.
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None  # set once the loop and its task have started
        self._task_result: Future[None] = Future()
        self._process = self._thread = 0
        # Protects ``ended`` while a call is handed to the loop. Otherwise a call could be handed to
        # a loop that ends, and its caller would wait for ever. Reentrant: a signal handler may
        # call too.
        self._lock = threading.RLock()
        self.ended: bool = False

    def start(self, serve: Callable[..., Awaitable[None]]) -> None:
        """Start the loop, with a task that runs until ``stop``.

        Raises:
            NotActiveError: it was started before.
            Exception: the error of the task, if the task fails before it has started.
        """
        if self._process:
            raise NotActiveError("A BlockingLive object can be entered once; make another one.")
        self._process = os.getpid()
        portal_context = self._portal_context = self._open_portal()
        with refusal_as_error():
            portal = portal_context.__enter__()
        try:
            self._thread = portal.call(threading.get_ident)
            self._task_result, _ = portal.start_task(serve)
        except BaseException as error:
            self.ended = True
            # With the error, so that a task that has begun is cancelled: the error may be Ctrl-C.
            portal_context.__exit__(error.__class__, error, error.__traceback__)
            raise
        self._portal = portal

    def stop(self, leave: Callable[[], None], interrupt: Callable[[], None]) -> None:
        """Let the task leave, wait for it, and end the loop.

        Args:
            leave: called in the loop; the task then ends.
            interrupt: called in the loop if this thread raises during the wait, as by Ctrl-C.
        """
        portal, portal_context = self._portal, self._portal_context
        assert portal is not None
        assert portal_context is not None
        if os.getpid() != self._process or sys.is_finalizing():
            # A forked child, where the thread does not run, or the end of the interpreter, where it
            # no longer runs, as in __del__ of a global object. Stop the portal here, so that
            # nothing waits for the thread when the portal is collected.
            with contextlib.suppress(StopIteration, RuntimeError):
                portal.stop().send(None)
            return
        try:
            try:
                _call_if_running(portal, leave)
                self._task_result.result()
            except CancelledError:
                raise NotActiveError(
                    "The event loop of AsyncLive.blocking() ended before its block: code in it, "
                    "such as a callback for events, raised SystemExit."
                ) from None
            except BaseException:
                if not self._task_result.done():
                    _call_if_running(portal, interrupt)
                    wait([self._task_result])
                raise
        finally:
            with self._lock:
                self.ended = True
            portal_context.__exit__(None, None, None)

    def run(self, func: Callable[[], Awaitable[T]]) -> T:
        """Run an async function in the loop; return its result, or raise its error.

        Raises:
            NotActiveError: the loop does not run, or ended before the function, or this is its own
                thread.
        """
        if threading.get_ident() == self._thread and not self.ended:
            raise NotActiveError(
                "This is the thread of the event loop of AsyncLive.blocking(), as in a callback "
                "for events: here the call would wait for itself. Call it in another thread."
            )
        self._check()
        with self._lock:
            try:
                future = self._check().start_task_soon(func)
            except RuntimeError as error:  # the portal has ended, and not by ``stop``
                raise NotActiveError(f"The event loop of this object has ended: {error}.") from None
        try:
            return future.result()
        except CancelledError:
            raise NotActiveError("The block was left by an exception.") from None
        except BaseException:
            # Raised in this thread, as by Ctrl-C: no thread waits for the result any more. If the
            # function itself raised it, there is nothing left to cancel.
            future.cancel()
            raise

    def call(self, func: Callable[[], T]) -> T:
        """Call a function that does not wait: in the loop, or, if no loop runs, here."""
        in_loop = threading.get_ident() == self._thread  # a hook may call this too
        if self._portal is None or in_loop or os.getpid() != self._process:
            return func()
        with self._lock:
            future = None if self.ended else self._portal.start_task_soon(func)
        return func() if future is None else future.result()

    def _check(self) -> BlockingPortal:
        if self._portal is None or self.ended:
            raise NotActiveError(
                "This works inside 'with AsyncLive.blocking() as live:'; this object has "
                f"{'been left' if self.ended else 'not been entered'}."
            )
        if os.getpid() != self._process:
            # The threads run in the parent only: a wait for them would never end.
            raise NotActiveError(
                "This object was entered by the process that this one was forked from. "
                "Make another one here."
            )
        return self._portal


def _call_if_running(portal: BlockingPortal, func: Callable[[], None]) -> None:
    """Call ``func`` in the loop, unless an error such as SystemExit in a callback has ended it."""
    with contextlib.suppress(RuntimeError):
        portal.call(func)
