"""An event loop in a thread of its own, and how other threads have something done in it."""

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
        # Held while a call is handed to the loop, so that none is once the loop ends: it would
        # be waited for in vain. Reentrant, for a signal handler that asks for something, too.
        self._handing_over = threading.RLock()
        self.ended: bool = False

    def start(self, serve: Callable[..., Awaitable[None]]) -> None:
        """Begin, with a task that runs until ``stop``; what it raises first is raised here."""
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
            # With the error, so that a task that was begun is cancelled: this may be Ctrl-C.
            self._running.__exit__(error.__class__, error, error.__traceback__)
            raise
        self._portal = portal

    def stop(self, leave: Callable[[], None], interrupt: Callable[[], None]) -> None:
        """Have the task leave, wait for it, and end the loop.

        ``interrupt`` is called in the loop where something is raised in this thread meanwhile.
        """
        portal = self._portal
        assert portal is not None
        if os.getpid() != self._process:
            # A forked child. The thread is its parent's, and is not to be waited for when what
            # runs it is collected, either.
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
            raise RuntimeError("Called by a hook, in the event loop: it would wait for itself.")
        self._check()
        with self._handing_over:
            future = self._check().start_task_soon(func)
        try:
            return future.result()
        except CancelledError:
            raise NotActiveError("The block was left by an exception.") from None
        except BaseException:
            # Of this thread, as Ctrl-C: nobody waits for it any longer. (Where it has ended with
            # this itself, there is nothing left to cancel.)
            future.cancel()
            raise

    def ask(self, func: Callable[[], T]) -> T:
        """Call a function that needs no waiting, in the loop while there is one."""
        in_loop = threading.get_ident() == self._thread  # a hook may ask, too
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
            # Its threads are the parent's alone: waiting for them would never end.
            raise NotActiveError(
                "This object was entered by the process that this one was forked from. "
                "Make another one here."
            )
        return self._portal
