"""An event loop in a thread of its own, and how other threads call into it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from typing import TypeVar

from anyio.from_thread import BlockingPortal

from .._errors import NotActiveError

T = TypeVar("T")


class LoopThread:
    """The thread, from ``start`` to ``stop``. Any other thread may use the rest.

    Args:
        open_portal: ``anyio.from_thread.start_blocking_portal``, with its arguments.
    """

    def __init__(self, open_portal: Callable[[], AbstractContextManager[BlockingPortal]]) -> None:
        self._open_portal = open_portal
        self._served: Future[None] = Future()
        self._portal: BlockingPortal | None = None
        self._process = self._thread = 0
        # Held while a call is handed to the loop. Otherwise a call could be handed to a loop that
        # ends, and its caller would wait for ever. Reentrant: a signal handler may call too.
        self._handing_over = threading.RLock()
        self.ended: bool = False

    def start(self, serve: Callable[..., Awaitable[None]]) -> None:
        """Start the loop with a task that runs until ``stop``; raise an error of its start."""
        if self._process:
            raise NotActiveError("A BlockingLive object can be entered once; make another one.")
        self._process = os.getpid()
        self._running = self._open_portal()
        portal = self._running.__enter__()
        try:
            self._thread = portal.call(threading.get_ident)
            self._served, _ = portal.start_task(serve)
        except BaseException as error:
            self.ended = True
            # With the error, so that a task that has begun is cancelled: it may be Ctrl-C.
            self._running.__exit__(error.__class__, error, error.__traceback__)
            raise
        self._portal = portal

    def stop(self, leave: Callable[[], None], interrupt: Callable[[], None]) -> None:
        """Let the task leave, wait for it, and end the loop.

        Args:
            leave: called in the loop; the task then ends.
            interrupt: called in the loop if this thread raises during the wait, as by Ctrl-C.
        """
        portal = self._portal
        assert portal is not None
        if os.getpid() != self._process:
            # A forked child. The thread runs in the parent only. Stop the portal here, so that
            # nothing waits for the thread when the portal is collected.
            with contextlib.suppress(StopIteration, RuntimeError):
                portal.stop().send(None)
            return
        try:
            try:
                portal.call(leave)
                self._served.result()
            except BaseException:
                if not self._served.done():
                    portal.call(interrupt)
                    wait([self._served])
                raise
        finally:
            with self._handing_over:
                self.ended = True
            self._running.__exit__(None, None, None)

    def run(self, func: Callable[[], Awaitable[T]]) -> T:
        """Run an async function in the loop, and wait for it here."""
        if threading.get_ident() == self._thread and not self.ended:
            raise RuntimeError("Called by a hook on the event loop, which would wait for itself.")
        self._check()
        with self._handing_over:
            future = self._check().start_task_soon(func)
        try:
            return future.result()
        except CancelledError:
            raise NotActiveError("The block was left by an exception.") from None
        except BaseException:
            # Raised in this thread, as by Ctrl-C: no thread waits for the result any more. If the
            # function itself raised it, there is nothing left to cancel.
            future.cancel()
            raise

    def ask(self, func: Callable[[], T]) -> T:
        """Call a function that does not wait: in the loop, if it runs, else here."""
        in_loop = threading.get_ident() == self._thread  # a hook may call this too
        if self._portal is None or in_loop or os.getpid() != self._process:
            return func()
        with self._handing_over:
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
