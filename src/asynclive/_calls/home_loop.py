"""HomeLoop: the event loop that an AsyncLive belongs to, and how other threads reach it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._errors import NotActiveError

if TYPE_CHECKING:
    import asyncio


class HomeLoop:
    """The event loop that first used an object. The object works there alone.

    In another loop a wait would never end: the event loops cannot wake each other.
    """

    __slots__ = ("_loop", "_process", "_thread")

    def __init__(self) -> None:
        self._loop: Any = None  # a loop of asyncio or a token of trio; None: not used yet
        self._process = 0
        self._thread = ""

    def claim(self, use: str) -> None:
        """Belong to the running loop from now on; check it, if the object belongs to one already.

        Args:
            use: the method that is called, for the error.

        Raises:
            NotActiveError: as ``check`` does.
        """
        if self._loop is None:
            self._loop = _running_loop()
            self._process = os.getpid()
            self._thread = threading.current_thread().name
        else:
            self.check(use)

    def check(self, use: str) -> None:
        """Check that this is the process and the loop of the object. Cheap: done for each call.

        Raises:
            NotActiveError: it is not.
        """
        if os.getpid() != self._process:
            # The threads of the session are in the parent alone: a wait for them would never end.
            raise NotActiveError(
                "This AsyncLive object was entered by the process that this one was forked from. "
                "Make another one here, in an event loop of this process."
            )
        if _running_loop() is not self._loop:
            kind = "asyncio" if _is_asyncio(self._loop) else "trio"
            # From inside a callback, such as a signal handler, this may also be no loop at all.
            ended = "" if self.call_soon(_do_nothing) else ", which has ended"
            raise NotActiveError(
                f"{use} was called outside of the event loop that this object belongs to: that of "
                f"{kind} in the thread '{self._thread}'{ended}. Call it there. An object of "
                "AsyncLive.blocking() works in every thread."
            )

    @property
    def is_this_process(self) -> bool:
        """Whether this process is not a forked child of the one that the loop runs in."""
        return os.getpid() == self._process

    @property
    def is_running(self) -> bool:
        """Whether the loop runs, so that it calls a function soon."""
        if _is_asyncio(self._loop):
            return bool(self._loop.is_running())
        return self.call_soon(_do_nothing)

    @property
    def stopped_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it is one of asyncio that was stopped and can run again; else None."""
        loop: asyncio.AbstractEventLoop = self._loop
        if not _is_asyncio(loop) or loop.is_running() or loop.is_closed():
            return None
        return loop

    def end_threads_of_closed_loop(self) -> None:
        """End the threads that anyio started for the loop, if it is a closed one of asyncio.

        They wait until its main task ends. It never ends if the loop was stopped inside the task.
        """
        loop = self._loop
        if _is_asyncio(loop) and loop.is_closed():
            for thread in threading.enumerate():
                if getattr(thread, "loop", None) is loop and hasattr(thread, "stop"):
                    thread.stop()

    def call_soon(self, func: Callable[[], object]) -> bool:
        """Let the loop call ``func``, from any thread; return False if the loop has ended.

        A loop of asyncio that was stopped calls it when it runs again; see ``is_running``.
        """
        call_soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        try:
            call_soon(func)
        except RuntimeError:  # closed, or trio.RunFinishedError
            return False
        return True


def _is_asyncio(loop: Any) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(loop, asyncio.AbstractEventLoop)


def _running_loop() -> object | None:
    """Return an object that identifies the event loop of this thread; None: no loop runs here."""
    # `import asyncio` takes 15 ms. Without it, no loop of asyncio runs.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            loop: object = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return loop
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        token: object = trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    return token


def _do_nothing() -> None:
    pass
