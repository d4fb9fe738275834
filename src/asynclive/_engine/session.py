"""One ``async with`` block: its tasks, its engine and its calls in flight."""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from .._artifact.request import ArtifactRequest
from .._calls.call import Call, CallOptions, Stage
from .._calls.drain import DrainResult, drain
from .._calls.home_loop import HomeLoop
from .._calls.observer import Observer
from .._calls.unawaited_errors import UnawaitedErrors
from .._dvclive.experiment import SessionExperiment
from .._errors import NotActiveError
from .._instrumentation.event_hub import EventHub, EventStream, OnEvent
from .._instrumentation.sampler import Sampler
from .._instrumentation.statistics import AsyncLiveStatistics, Counters
from .interface import Engine, Listener, MakeEngine
from .settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._workers.os_priority import Scheduling


class Display(Protocol):
    """Shows progress. Both methods block for a moment."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class _State(enum.Enum):
    """The states of a session, in their order; a session need not be drained."""

    NEW = "has not been entered"
    ENTERING = "is being entered"
    ACTIVE = "is active"
    DRAINING = "is being drained, or was"
    LEFT = "has been left"


class Session:
    """Owns the tasks, the engine and the calls of one block. It can be entered once.

    Args:
        settings: where and how to work.
        experiment: the DVC experiment that the block ends in.
        make_engine: makes the engine. It is called in a thread, because it imports DVC.
        hub: gets an event for each change of a call.
        display: shows progress inside the block; None: no progress is shown.
    """

    def __init__(
        self,
        settings: Settings,
        experiment: SessionExperiment,
        make_engine: MakeEngine,
        hub: EventHub,
        display: Display | None = None,
    ) -> None:
        self.settings = settings
        self.experiment = experiment
        self._make_engine = make_engine
        self._hub = hub
        self._display = display
        self._counters = Counters()
        self._sampler = Sampler(self._has_consumers, self._start_soon)
        self._observer = Observer(hub, self._sampler)
        self._unawaited = UnawaitedErrors()
        self._state = _State.NEW
        self.home = HomeLoop()
        # These two exist once the block is entered.
        self._owner: anyio.abc.TaskGroup | None = None
        self._engine: Engine | None = None
        self._in_flight: dict[Call, None] = {}
        self._accepted = 0
        self._all_ended: anyio.Event | None = None  # made when the block waits for calls
        # The cause of the error that ended the engine: trio 0.26 drops it on the way.
        self._cause: BaseException | None = None

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            raise NotActiveError("An AsyncLive object can be entered once; make another one.")
        self.home.claim("Entering")
        self._state = _State.ENTERING
        # Owns every task of the session. Its only direct child runs the engine, which owns the
        # other tasks and closes the repository once they have ended.
        self._owner = anyio.create_task_group()
        await self._owner.__aenter__()
        try:
            await self._owner.start(self._serve)
        except BaseException as error:
            self._state = _State.LEFT
            self._owner.cancel_scope.cancel()
            await self._owner.__aexit__(None, None, None)
            self._hub.close()
            single = _unwrap(error)
            single.__cause__ = single.__cause__ or self._cause
            if single is error:
                raise
            raise single from single.__cause__
        self._state = _State.ACTIVE
        if self._hub.has_consumers:
            self.engine.start_events()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.home.check("Leaving the block")
        if self._state is _State.ACTIVE:
            self._state = _State.LEFT
        self.engine.stop_accepting()
        try:
            if exc is None and self._in_flight:
                self._all_ended = anyio.Event()
                await self._all_ended.wait()
            if exc is None:
                self.engine.leave_normally()
        finally:
            await self._end_tasks()
        if exc is None:
            self._unawaited.raise_group()
        else:
            self._unawaited.log_and_note(exc)

    async def _end_tasks(self) -> None:
        """Cancel every task, and wait for them; the engine closes the repository."""
        assert self._owner is not None
        self._owner.cancel_scope.cancel()
        try:
            # Without the exception of the block: the task group would wrap it in a group.
            await self._owner.__aexit__(None, None, None)
        except BaseException as error:
            single = _unwrap(error)
            self._unawaited.log_and_note(single)
            if single is error:
                raise
            raise single from single.__cause__
        finally:
            self._hub.close()

    @property
    def engine(self) -> Engine:
        """The engine. It exists once the block is being entered."""
        assert self._engine is not None
        return self._engine

    def accept(self, request: ArtifactRequest, options: CallOptions) -> Call:
        """Accept a checked request: start to work on it. Awaits nothing.

        So artifacts are logged in the order of the calls, whichever task runs first.

        Raises:
            AsyncLiveError: the engine refuses the call.
        """
        call = Call(request, options, self._accepted + 1)
        call.add_listener(self._on_stage_change)
        self.engine.accept(call)
        self._accepted += 1
        self._counters.change_stage(None, call.stage)
        self._in_flight[call] = None
        self._observer.begin(call)
        return call

    def check_active(self, method: str) -> None:
        """Check that the block is active, and that this is its event loop.

        Raises:
            NotActiveError: it is not.
        """
        if self._state is not _State.ACTIVE:
            raise NotActiveError(
                f"{method} works inside 'async with AsyncLive() as live:'; this object "
                f"{self._state.value}."
            )
        self.home.check(method)

    async def raise_if_cancelled(self) -> None:
        """Raise the cancellation of a task that was cancelled along with the block.

        Without this, such a task would get a NotActiveError.
        """
        if self._state is not _State.ACTIVE:
            await anyio.lowlevel.checkpoint_if_cancelled()

    async def drain(self, deadline: float | None) -> DrainResult:
        """Refuse new calls, finish what fits into ``deadline`` seconds, and cancel the rest."""
        if self._state is _State.DRAINING:
            self.home.check("drain()")
        else:
            self.check_active("drain()")
            self._state = _State.DRAINING
        self.engine.stop_accepting()
        return await drain(list(self._in_flight), deadline)

    def statistics(self) -> AsyncLiveStatistics:
        """Return the counters at this moment."""
        # Without calls in flight no thread works, and before the block there is no engine.
        return self._counters.statistics(
            busy_workers=self.engine.busy_workers if self._in_flight else 0,
            total_workers=self.settings.workers,
        )

    def stream(self, bound: int) -> EventStream:
        """Return a stream of the events from now on, of ``bound`` queued events at most.

        Raises:
            NotActiveError: the block is active in another event loop.
        """
        if self._state in (_State.ENTERING, _State.ACTIVE, _State.DRAINING):
            self.home.check("events()")
        stream = self._hub.stream(bound, partial(self.home.claim, "Iterating over events()"))
        self._sampler.wake()
        if self._state is _State.ACTIVE:
            self.engine.start_events()
        return stream

    def listen(self, on_event: OnEvent) -> None:
        """Call ``on_event`` with each event from now on."""
        self._hub.listen(on_event)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Make the engine, let it work, and show its progress."""
        limiter = anyio.CapacityLimiter(1)  # the thread that imports DVC, or writes to a terminal
        listener = Listener(self._observer.on_committed, self._on_ended)
        make = partial(self._make_engine, self.settings, self._counters, listener, self.experiment)
        self._engine = await anyio.to_thread.run_sync(make, limiter=limiter)
        if self._display is None:
            await self._serve_engine(task_status)
            return
        await anyio.to_thread.run_sync(self._display.start, limiter=limiter)
        try:
            await self._serve_engine(task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._display.close, limiter=limiter)

    async def _serve_engine(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            await self.engine.serve(task_status=task_status)
        except BaseException as error:
            self._cause = _unwrap(error).__cause__
            raise

    def _on_stage_change(self, call: Call, before: Stage) -> None:
        self._counters.change_stage(before, call.stage)
        self._observer.on_stage_change(call, before)

    def _on_ended(self, call: Call) -> None:
        if call.submitted and call.stage == "failed":
            self._unawaited.add(call)
        del self._in_flight[call]
        if not self._in_flight and self._all_ended is not None:
            self._all_ended.set()

    def _has_consumers(self) -> bool:
        return self._hub.has_consumers

    def _start_soon(self, sample: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._owner is not None
        self._owner.start_soon(sample)


def make_local_engine(
    settings: Settings,
    counters: Counters,
    listener: Listener,
    experiment: SessionExperiment,
    scheduling: Scheduling | None = None,
) -> Engine:
    """Return an engine that works in threads. Its imports take a while: call it in a thread."""
    from .local_engine import LocalEngine

    return LocalEngine(settings, counters, listener, experiment, scheduling)


def _unwrap(error: BaseException) -> BaseException:
    """Return the single error in the groups that nested task groups put around it."""
    while isinstance(error, BaseException) and len(getattr(error, "exceptions", ())) == 1:
        error = error.exceptions[0]  # type: ignore[attr-defined]  # BaseExceptionGroup, 3.11
    return error
