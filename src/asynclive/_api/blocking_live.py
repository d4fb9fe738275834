"""AsyncLive for code that is not async: its event loop runs in a thread of its own."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
from anyio.from_thread import start_blocking_portal

from .._artifact.records import LoggedArtifact
from .._calls.call import Stage
from .._calls.drain import DrainResult
from .._calls.handle import ArtifactHandle
from .._instrumentation.statistics import AsyncLiveStatistics
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from typing_extensions import Self

    from .async_live import AsyncLive


class BlockingLive:
    """An :class:`AsyncLive` for code that is not async: for a training loop, or its callbacks.

    :meth:`AsyncLive.blocking` makes one. It is a context manager, and does what AsyncLive does,
    in an event loop that runs in a thread of its own: leaving the block waits for what is in
    flight; leaving it by an exception, or Ctrl-C while that is waited for, cancels it. Any
    number of threads may use it. An object can be entered once.

    Args:
        live: the one to enter; it must not have been entered.
        backend: the event loop, ``"asyncio"`` or ``"trio"``.
        backend_options: as in :func:`anyio.run`.

    Raises:
        ExceptionGroup: on leaving: the errors of handles that nobody asked for their result.
        AsyncLiveError: on entering, as AsyncLive.

    Ctrl-C, and whatever else a signal handler raises in the main thread, ends each wait here at
    once. On Windows, Python looks at it only once the wait is over.

    Example::

        with AsyncLive.blocking() as live:
            handle = live.submit("model.pt")
            ...  # "model.pt" may be written again
            print(handle.result().md5)
    """

    def __init__(
        self,
        live: AsyncLive,
        *,
        backend: str = "asyncio",
        backend_options: dict[str, Any] | None = None,
    ) -> None:
        self._live = live
        self._loop = LoopThread(partial(start_blocking_portal, backend, backend_options))

    def __enter__(self) -> Self:
        self._loop.start(self._serve)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.stop(partial(self._leave, (exc_type, exc, traceback)), self._interrupt)

    def submit(
        self,
        path: str | os.PathLike[str],
        type: str | None = None,
        name: str | None = None,
        desc: str | None = None,
        labels: list[str] | None = None,
        meta: dict[str, Any] | None = None,
        copy: bool | str = False,
        cache: bool = True,
        *,
        move: bool = False,
        wait: bool = True,
        latest_wins: bool = False,
    ) -> BlockingHandle:
        """Log an artifact in the background: return as soon as ``path`` may be overwritten.

        Takes what :meth:`AsyncLive.submit` takes, and raises what it raises. Of calls from one
        thread the order is kept; who needs an order among threads makes it.

        Raises:
            NotActiveError: called outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): the artifact is cancelled.
        """
        handle = self._loop.run(
            partial(
                self._live.submit,
                *(path, type, name, desc, labels, meta, copy, cache),
                move=move,
                wait=wait,
                latest_wins=latest_wins,
            )
        )
        return BlockingHandle(handle, self._loop)

    def log_artifact(
        self,
        path: str | os.PathLike[str],
        type: str | None = None,
        name: str | None = None,
        desc: str | None = None,
        labels: list[str] | None = None,
        meta: dict[str, Any] | None = None,
        copy: bool | str = False,
        cache: bool = True,
        *,
        latest_wins: bool = False,
    ) -> LoggedArtifact:
        """Log an artifact, and return what was logged once all of it is on disk.

        Takes what :meth:`AsyncLive.log_artifact` takes, and raises what it raises.

        Raises:
            NotActiveError: called outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): the artifact is cancelled.
        """
        return self._loop.run(
            partial(
                self._live.log_artifact,
                *(path, type, name, desc, labels, meta, copy, cache),
                latest_wins=latest_wins,
            )
        )

    def drain(self, deadline: float | None) -> DrainResult:
        """Stop accepting, finish what fits into ``deadline`` seconds, cancel the rest.

        As :meth:`AsyncLive.drain`: for a process that is told to end.

        Raises:
            ValueError: ``deadline`` is negative.
            NotActiveError: called outside of the ``with`` block, or in a forked child.
        """
        return self._loop.run(partial(self._live.drain, deadline))

    def statistics(self) -> AsyncLiveStatistics:
        """Return what waits, what is in work and what is done, at this moment.

        May be called at any time, as :meth:`AsyncLive.statistics`.
        """
        return self._loop.ask(self._live.statistics)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Be in the block of the AsyncLive until this one's is left; in one task, as it has to."""
        self._left = anyio.Event()
        with anyio.CancelScope() as self._scope:
            await self._live.__aenter__()
            try:
                task_status.started()
                await self._left.wait()
            except BaseException as error:
                await self._live.__aexit__(error.__class__, error, error.__traceback__)
                raise
            # Handed on rather than raised: it is another thread's, and has its traceback.
            await self._live.__aexit__(*self._reason)

    def _leave(self, reason: Any) -> None:
        self._reason = reason
        self._left.set()

    def _interrupt(self) -> None:
        self._scope.cancel()


class BlockingHandle:
    """What :meth:`BlockingLive.submit` returns: an artifact that is being logged.

    Any thread may use it. After the block was left, too: what it is a handle of has ended then.
    """

    __slots__ = ("_handle", "_loop")

    def __init__(self, handle: ArtifactHandle, loop: LoopThread) -> None:
        self._handle = handle
        self._loop = loop

    @property
    def name(self) -> str:
        """The name in dvc.yaml; where no entry was wanted, the name it would have had."""
        return self._handle.name

    @property
    def path(self) -> Path:
        """The tracked path, absolute; with ``copy`` that of the copy."""
        return self._handle.path

    @property
    def stage(self) -> Stage:
        """How far it has come; see :attr:`ArtifactHandle.stage`."""
        return self._handle.stage

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._handle.done

    def cancel(self) -> None:
        """Do not log it, if that can still be; see :meth:`ArtifactHandle.cancel`."""
        self._loop.ask(self._handle.cancel)

    def result(self, timeout: float | None = None) -> LoggedArtifact:
        """Return what was logged, once it is.

        Args:
            timeout: seconds to wait at most; 0 only looks. None: for ever.

        Raises:
            TimeoutError: it has not ended by then. It goes on, and may be asked again.
                (:class:`LockTimeoutError` is one too, and final: :attr:`done` tells them apart.)
            AsyncLiveError: what :meth:`AsyncLive.log_artifact` would have raised.
            ValueError: ``timeout`` is negative.

        Interrupted (Ctrl-C): ends the wait. The artifact is logged all the same, if the block is
            not left by that.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must not be negative, not {timeout}")
        if self.done and self._loop.ended:
            return self._handle._call.outcome()
        return self._loop.run(partial(self._result, math.inf if timeout is None else timeout))

    async def _result(self, timeout: float) -> LoggedArtifact:
        # The time is measured in the loop, where an artifact cannot end between the end of the
        # wait and the look at what has come of it: its error would get lost.
        with anyio.move_on_after(timeout):
            return await self._handle.wait()
        if self.done:
            return self._handle._call.outcome()
        raise TimeoutError(f"'{self.path}' is not logged after {timeout:g} s: {self.stage}")

    def __repr__(self) -> str:
        return repr(self._handle).replace("ArtifactHandle", "BlockingHandle", 1)
