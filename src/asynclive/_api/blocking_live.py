"""BlockingLive and BlockingHandle: AsyncLive for code that is not async."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.abc
from anyio.from_thread import start_blocking_portal

from .._artifact.push_policy import VerifyOrPolicy
from .._artifact.push_records import PushResult
from .._artifact.records import LoggedArtifact
from .._calls.call import Stage
from .._calls.drain import DrainResult
from .._calls.handle import ArtifactHandle
from .._instrumentation.statistics import AsyncLiveStatistics
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from typing_extensions import Self


class LiveMethods(Protocol):
    """The methods of :class:`AsyncLive` that :class:`BlockingLive` calls."""

    @property
    def submit(self) -> Callable[..., Coroutine[Any, Any, ArtifactHandle]]: ...

    @property
    def log_artifact(self) -> Callable[..., Coroutine[Any, Any, LoggedArtifact]]: ...

    @property
    def push(self) -> Callable[..., Coroutine[Any, Any, PushResult]]: ...

    @property
    def drain(self) -> Callable[[float | None], Coroutine[Any, Any, DrainResult]]: ...

    @property
    def statistics(self) -> Callable[[], AsyncLiveStatistics]: ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class BlockingLive:
    """An :class:`AsyncLive` for code that is not async: for a training loop, or its callbacks.

    :meth:`AsyncLive.blocking` makes one. It is a context manager, and does what AsyncLive does, in
    an event loop that runs in a thread of its own. Leaving the block waits for all artifacts;
    ``sys.exit(0)`` does too. Leaving it by an exception cancels them, and so does Ctrl-C during
    that wait; a warning of the log names those that were submitted. If the block is never left, the
    end of the program finishes its artifacts, in up to 60 seconds, or names them. Any number of
    threads may use it. An object can be entered once.

    Args:
        live: an :class:`AsyncLive` that has not been entered.
        backend: the event loop, ``"asyncio"`` or ``"trio"``.
        backend_options: see :func:`anyio.run`.

    Raises:
        ExceptionGroup: on leaving: the errors of handles whose result no code has asked for.
        AsyncLiveError: on entering, as AsyncLive raises it.

    Ctrl-C, or any other exception of a signal handler in the main thread, ends each wait at once.
    On Windows, Python handles it only after the wait.

    Example::

        with AsyncLive.blocking() as live:
            handle = live.submit("model.pt")
            ...  # "model.pt" may be written again
            print(handle.result().md5)
    """

    def __init__(
        self,
        live: LiveMethods,
        *,
        backend: str = "asyncio",
        backend_options: dict[str, Any] | None = None,
    ) -> None:
        self._live = live
        self._loop = LoopThread(partial(start_blocking_portal, backend, backend_options))
        # The block of the AsyncLive, once it is being entered.
        self._block: _Block | None = None

    def __enter__(self) -> Self:
        self._loop.start(self._serve)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        reason = exc_type, exc, traceback
        self._loop.stop(partial(self._leave, reason), self._interrupt)

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
        reread: bool = False,
    ) -> BlockingHandle:
        """Log an artifact in the background: return as soon as ``path`` may be overwritten.

        Arguments and errors are those of :meth:`AsyncLive.submit`. The calls of one thread keep
        their order. Calls of several threads have no order, unless the threads make one.

        Raises:
            NotActiveError: the call is outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): the artifact is cancelled.

        Example::

            with AsyncLive.blocking() as live:
                handle = live.submit("model.pt")
                print(handle.result().md5)
        """
        handle = self._loop.run(
            partial(
                self._live.submit,
                *(path, type, name, desc, labels, meta, copy, cache),
                move=move,
                wait=wait,
                latest_wins=latest_wins,
                reread=reread,
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
        reread: bool = False,
    ) -> LoggedArtifact:
        """Log an artifact, and return its record once all of it is on disk.

        Arguments and errors are those of :meth:`AsyncLive.log_artifact`.

        Raises:
            NotActiveError: the call is outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): the artifact is cancelled.

        Example::

            with AsyncLive.blocking() as live:
                print(live.log_artifact("model.pt").md5)
        """
        return self._loop.run(
            partial(
                self._live.log_artifact,
                *(path, type, name, desc, labels, meta, copy, cache),
                latest_wins=latest_wins,
                reread=reread,
            )
        )

    def push(
        self,
        *artifacts: str | os.PathLike[str] | LoggedArtifact,
        remote: str | None = None,
        verify: VerifyOrPolicy = "policy",
    ) -> PushResult:
        """Push tracked artifacts to a DVC remote, as ``dvc push`` does, and prove each object.

        Arguments and errors are those of :meth:`AsyncLive.push`.

        Raises:
            NotActiveError: the call is outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): the push is cancelled. Objects that are in the remote stay there. The
            next push sends the rest.

        Example::

            with AsyncLive.blocking() as live:
                logged = live.log_artifact("model.pt")
                result = live.push(logged)
                print(result.objects, result.skipped)
        """
        return self._loop.run(partial(self._live.push, *artifacts, remote=remote, verify=verify))

    def drain(self, deadline: float | None) -> DrainResult:
        """Refuse new calls, finish the artifacts that fit into ``deadline``, and cancel the rest.

        See :meth:`AsyncLive.drain`. Use it when the process must end soon.

        Args:
            deadline: seconds; None: no limit.

        Returns:
            The outcomes of all artifacts that were in flight.

        Raises:
            ValueError: ``deadline`` is negative.
            NotActiveError: the call is outside of the ``with`` block, or in a forked child.

        Interrupted (Ctrl-C): ends the wait. New calls are refused all the same.

        Example::

            with AsyncLive.blocking() as live:
                live.submit("model.pt")
                result = live.drain(25)
                print(result.logged, result.not_logged)
        """
        return self._loop.run(partial(self._live.drain, deadline))

    def statistics(self) -> AsyncLiveStatistics:
        """Return counters of waiting, running and ended work at this moment.

        May be called at any time; see :meth:`AsyncLive.statistics`.

        Example::

            with AsyncLive.blocking() as live:
                live.log_artifact("model.pt")
                print(live.statistics().bytes_staged)
        """
        return self._loop.call(self._live.statistics)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Enter the AsyncLive; leave it after ``_leave``. Both must happen in one task."""
        self._block = block = _Block()
        with block.scope:
            await self._live.__aenter__()
            try:
                task_status.started()
                await block.leave_requested.wait()
            except BaseException as error:
                await self._live.__aexit__(error.__class__, error, error.__traceback__)
                raise
            # Passed, not raised: the exception and its traceback belong to another thread.
            await self._live.__aexit__(*block.reason)

    def _leave(self, reason: _Reason) -> None:
        assert self._block is not None
        self._block.reason = reason
        self._block.leave_requested.set()

    def _interrupt(self) -> None:
        assert self._block is not None
        self._block.scope.cancel()


_Reason = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class _Block:
    """The block of an AsyncLive: how to leave it. Made on its event loop."""

    def __init__(self) -> None:
        self.leave_requested = anyio.Event()
        self.scope = anyio.CancelScope()
        self.reason: _Reason = None, None, None


class BlockingHandle:
    """An artifact that is being logged: :meth:`BlockingLive.submit` returns it.

    Any thread may use it, also after the block: its artifact has ended then.

    Example::

        with AsyncLive.blocking() as live:
            handle = live.submit("model.pt")
            print(handle.stage, handle.result().md5)
    """

    __slots__ = ("_handle", "_loop")

    def __init__(self, handle: ArtifactHandle, loop: LoopThread) -> None:
        self._handle = handle
        self._loop = loop

    @property
    def name(self) -> str:
        """The name of the entry in dvc.yaml; without an entry, the name it would have had."""
        return self._handle.name

    @property
    def path(self) -> Path:
        """The tracked path, absolute; with ``copy``, the path of the copy."""
        return self._handle.path

    @property
    def stage(self) -> Stage:
        """The stage of the artifact; see :attr:`ArtifactHandle.stage`."""
        return self._handle.stage

    @property
    def done(self) -> bool:
        """Whether the artifact has ended, whatever its outcome."""
        return self._handle.done

    def cancel(self) -> None:
        """Stop logging the artifact, if it can be stopped; see :meth:`ArtifactHandle.cancel`.

        Example::

            with AsyncLive.blocking() as live:
                handle = live.submit("model.pt")
                handle.cancel()
                try:
                    handle.result()
                except ArtifactCancelledError as error:
                    print(error)
        """
        self._loop.call(self._handle.cancel)

    def result(self, timeout: float | None = None) -> LoggedArtifact:
        """Wait until the artifact is logged, and return its record.

        Args:
            timeout: maximum number of seconds to wait; 0: do not wait. None: no limit.

        Raises:
            TimeoutError: the artifact has not ended in time. It goes on; ask again later.
                (:class:`LockTimeoutError` is a TimeoutError too, and final: :attr:`done`
                distinguishes them.)
            AsyncLiveError: any error that :meth:`AsyncLive.log_artifact` raises.
            ValueError: ``timeout`` is negative.

        Interrupted (Ctrl-C): ends the wait. The artifact is logged all the same, unless the
            interrupt also leaves the block.

        Example::

            with AsyncLive.blocking() as live:
                handle = live.submit("model.pt")
                try:
                    print(handle.result(timeout=60).md5)
                except TimeoutError:
                    print(handle.stage)
        """
        _check_timeout(timeout)
        if self.done and self._loop.ended:
            return self._handle._call.outcome()
        return self._loop.run(partial(self._result, math.inf if timeout is None else timeout))

    async def _result(self, timeout: float) -> LoggedArtifact:
        # The time is measured in the event loop. There, the artifact cannot end between the
        # timeout and the check below; its error would be lost.
        with anyio.move_on_after(timeout):
            return await self._handle.wait()
        if self.done:
            return self._handle._call.outcome()
        raise TimeoutError(f"'{self.path}' is not logged after {timeout:g} s: {self.stage}")

    def pushed(self, timeout: float | None = None) -> PushResult:
        """Wait until the artifact is logged, and its objects are in the remote and proven.

        See :meth:`ArtifactHandle.pushed`.

        Args:
            timeout: maximum number of seconds to wait; 0: do not wait. None: no limit.

        Raises:
            TimeoutError: the push has not ended in time. It goes on; ask again later.
            AsyncLiveError: any error that :meth:`ArtifactHandle.pushed` raises.
            ValueError: ``timeout`` is negative.

        Interrupted (Ctrl-C): ends the wait. The artifact is pushed all the same, unless the
            interrupt also leaves the block.

        Example::

            with AsyncLive.blocking(push=True) as live:
                handle = live.submit("model.pt")
                print(handle.pushed().objects)
        """
        _check_timeout(timeout)
        if self.done and self._loop.ended:
            self._handle._call.outcome()
            return self._handle._push_of_logged().outcome()
        return self._loop.run(partial(self._pushed, math.inf if timeout is None else timeout))

    async def _pushed(self, timeout: float) -> PushResult:
        with anyio.move_on_after(timeout):
            return await self._handle.pushed()
        stage: str = self.stage
        if self.done:
            self._handle._call.outcome()
            push = self._handle._push_of_logged()
            if push.is_done:
                return push.outcome()
            stage = push.stage
        raise TimeoutError(f"'{self.path}' is not pushed after {timeout:g} s: {stage}")

    def __repr__(self) -> str:
        return repr(self._handle).replace("ArtifactHandle", "BlockingHandle", 1)


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must not be negative, not {timeout}")
