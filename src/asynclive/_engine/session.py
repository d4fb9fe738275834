"""One ``async with`` block: its tasks, its engine and its calls in flight."""

from __future__ import annotations

import enum
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from .._artifact.push_records import PushRequest
from .._artifact.request import ArtifactRequest
from .._calls.call import Call, CallOptions, Stage
from .._calls.drain import DrainResult, drain
from .._calls.home_loop import HomeLoop
from .._calls.observer import Observer
from .._calls.push import Push
from .._calls.session_pushes import SessionPushes
from .._calls.unawaited_errors import UnawaitedErrors
from .._dvclive.experiment import SessionExperiment
from .._errors import NotActiveError
from .._instrumentation.event_hub import EventHub, EventStream, OnEvent
from .._instrumentation.sampler import Sampler
from .._instrumentation.statistics import AsyncLiveStatistics, Counters
from .._workers.processors import read_quota
from .._workers.thread_start import run_in_any_thread, run_in_thread
from .interface import Engine, Listener, MakeEngine
from .owner_task import OwnerTask, unwrap
from .settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._workers.os_priority import Scheduling


class Display(Protocol):
    """Shows progress. Both methods block for a moment."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class _State(enum.Enum):
    """The states of a session, in their order; a session need not be drained.

    A session that is ``LEFT`` may still be waiting for calls. If it ends before its block, it is
    ``ENDED`` and never ``LEFT``.
    """

    NEW = "has not been entered"
    ENTERING = "is being entered"
    ACTIVE = "is active"
    DRAINING = "is being drained, or was"
    LEFT = "has been left"
    ENDED = "has ended before its block: the program or its event loop ends, or the engine failed"


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
        policy = settings.push
        self._unawaited = UnawaitedErrors(
            keeps_push_errors=policy is not None and policy.on_error == "keep"
        )
        self._pushes = SessionPushes(
            *(policy, settings.root, self._counters, hub, self._sampler, self._unawaited),
            on_ended=self._check_all_ended,
        )
        self._state = _State.NEW
        self.home = HomeLoop()
        # These three exist once the block is entered.
        self._owner: OwnerTask | None = None
        self._finish_requested: anyio.Event | None = None
        self._engine: Engine | None = None
        self._leaving = False
        self._ended = threading.Event()  # for other threads
        self._in_flight: dict[Call, None] = {}
        self._accepted = 0
        self._is_overdue = False  # the deadline of ``drain`` passed, and calls had not ended
        self._all_ended: anyio.Event | None = None  # made when the block waits for calls
        # The cause of the error that ended the engine: trio 0.26 drops it on the way.
        self._cause: BaseException | None = None

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            raise NotActiveError("An AsyncLive object can be entered once; make another one.")
        self.home.claim("Entering")
        self._state = _State.ENTERING
        # Owns every task of the session. It runs the engine, which owns the other tasks and closes
        # the repository once they have ended.
        self._owner = OwnerTask(self._on_owner_ended)
        try:
            await self._owner.start(self._serve)
        except BaseException as error:
            self._state = _State.LEFT
            error.__cause__ = error.__cause__ or self._cause
            raise
        self._finish_requested = anyio.Event()
        self._owner.start_soon(self._finish_on_request)
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
        if self._state is not _State.NEW and not self.home.is_this_process:
            return  # a forked child: the block, its tasks and its files belong to the parent
        if isinstance(exc, GeneratorExit) and self._state is _State.ENDED:
            return  # the interpreter ends, and drops the task that was in the block
        if self._leaving or self._state in (_State.NEW, _State.ENTERING, _State.LEFT):
            raise NotActiveError(f"The block cannot be left: this object {self._state.value}.")
        self.home.check("Leaving the block")
        self._leaving = True
        if self._state is _State.ACTIVE:
            self._state = _State.LEFT
        self.engine.stop_accepting()
        self.engine.begin_leaving(hurry=self._is_overdue)
        reason = None if _is_normal_end(exc) else exc
        try:
            if reason is None:
                await self._wait_for_all()
                self.engine.leave_normally()
        except BaseException as error:
            reason = error
            raise
        finally:
            try:
                await self._end_tasks(reason)
            finally:
                self._ended.set()
        if reason is None:
            # Calls are dropped if asyncio shuts the loop down, and so cancels all tasks: a task in
            # the block called sys.exit(0), or a generator is closed at the end of the loop.
            self._unawaited.report_dropped(exc)
            self._unawaited.raise_group()

    async def _wait_for_all(self) -> None:
        """Wait until no call and no push is in flight."""
        if self._in_flight or self._pushes.in_flight:
            self._all_ended = self._all_ended or anyio.Event()
            await self._all_ended.wait()

    async def _end_tasks(self, reason: BaseException | None) -> None:
        """Cancel every task, and wait for them; the engine closes the repository.

        Args:
            reason: the exception by which the block is left; None: it is left normally.

        Raises:
            BaseException: the error of the engine, if it had one.
        """
        assert self._owner is not None
        self._owner.cancel()
        try:
            await self._owner.wait()
            if reason is None:
                await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            reason = error
            raise
        finally:
            failure = self._owner.error
            if (failure or reason) is not None:
                self._unawaited.report(failure or reason)
            if failure is not None and not _ends_loop(failure, reason):
                raise failure from failure.__cause__

    def _on_owner_ended(self) -> None:
        """Let no caller wait any longer: no task of the session works any more."""
        self._hub.close()
        if self._all_ended is not None:
            self._all_ended.set()
        if self._leaving or self._state is _State.ENTERING or not self.home.is_this_process:
            return
        self._state = _State.ENDED
        self._unawaited.report(None if self._owner is None else self._owner.error)
        self._ended.set()

    # For the end of the program. Any thread may call these.

    @property
    def has_ended(self) -> bool:
        """Whether no task of the session works any more, and lost artifacts are named."""
        return self._ended.is_set()

    @property
    def is_of_this_process(self) -> bool:
        return self.home.is_this_process

    def pending_paths(self) -> list[str]:
        """Return the paths of the calls in flight, as the callers wrote them."""
        return [call.request.given for call in list(self._in_flight)]

    def unpushed_paths(self) -> list[str]:
        """Return the tracked paths of the pushes in flight."""
        paths = (push.path for push in list(self._pushes.in_flight) if push.path is not None)
        return list(dict.fromkeys(paths))

    def finish_soon(self) -> bool:
        """Accept no call, finish those in flight, and end; return False if no loop runs for that.

        Nothing more is done if the block is just being left.
        """
        assert self._finish_requested is not None
        return self.home.is_running and self.home.call_soon(self._finish_requested.set)

    def finish_in_stopped_loop(self, seconds: float) -> None:
        """If the event loop was stopped, run it until the calls in flight have ended, and end.

        If it was also closed, end its threads, which would wait for ever.

        Args:
            seconds: then the calls that have not ended are cancelled.
        """
        loop = self.home.stopped_loop
        if loop is not None and not self.has_ended:
            loop.run_until_complete(self._finish_within(seconds))
        self.home.end_threads_of_closed_loop()

    async def _finish_within(self, seconds: float) -> None:
        assert self._owner is not None
        assert self._finish_requested is not None
        self._finish_requested.set()
        with anyio.move_on_after(seconds):
            await self._owner.wait()

    def cancel_soon(self) -> bool:
        """Cancel all calls, and end; return False if the event loop has ended."""
        assert self._owner is not None
        return self.home.call_soon(self._owner.cancel)

    def wait_until_ended(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    async def _finish_on_request(self) -> None:
        assert self._owner is not None
        assert self._finish_requested is not None
        await self._finish_requested.wait()
        if not self._leaving:
            self._state = _State.ENDED
            self.engine.stop_accepting()
            self.engine.begin_leaving(hurry=self._is_overdue)
            await self._wait_for_all()
            self.engine.leave_normally()
            self._owner.cancel()

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
        call.push = self._pushes.make_for(call)
        call.add_listener(self._on_stage_change)
        self.engine.accept(call)
        self._accepted += 1
        self._counters.change_stage(None, call.stage)
        self._in_flight[call] = None
        self._pushes.join_trace(call, self._observer.begin(call))
        return call

    def accept_push(self, request: PushRequest, name: str) -> Push:
        """Accept a push of ``AsyncLive.push``: start to work on it. Awaits nothing.

        Args:
            request: the checked arguments.
            name: for messages and events.
        """
        push = self._pushes.make(request, name)
        self.engine.accept_push(push)
        return push

    def check_active(self, method: str) -> None:
        """Check that the block is active, and that this is its event loop.

        Raises:
            NotActiveError: it is not.
        """
        if self._state is _State.ENDED:
            self.home.check(method)
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
        pushes = self._pushes.in_flight
        result = await drain(list(self._in_flight), pushes.keys, deadline)
        self._is_overdue = bool(result.unknown) or bool(pushes)
        return result

    def statistics(self) -> AsyncLiveStatistics:
        """Return the counters at this moment."""
        # Without calls in flight no thread works, and before the block there is no engine.
        return self._counters.statistics(
            busy_workers=self.engine.busy_workers if self._in_flight else 0,
            total_workers=self.settings.total_workers,
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
        listener = Listener(self._observer.on_committed, self._on_ended, self._pushes.adopt)
        make = partial(self._make_engine, self.settings, self._counters, listener, self.experiment)
        self._engine = await run_in_thread(make, limiter)
        if self._display is None:
            await self._serve_engine(task_status)
            return
        await run_in_thread(self._display.start, limiter)
        try:
            await self._serve_engine(task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_any_thread(self._display.close, limiter)

    async def _serve_engine(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            await self.engine.serve(task_status=task_status)
        except BaseException as error:
            self._cause = unwrap(error).__cause__
            raise

    def _on_stage_change(self, call: Call, before: Stage) -> None:
        self._counters.change_stage(before, call.stage)
        self._observer.on_stage_change(call, before)

    def _on_ended(self, call: Call) -> None:
        if call.submitted:
            self._unawaited.add(call)
        self._pushes.on_call_ended(call)
        del self._in_flight[call]
        self._check_all_ended()

    def _check_all_ended(self) -> None:
        if self._all_ended is not None and not self._in_flight and not self._pushes.in_flight:
            self._all_ended.set()

    def _has_consumers(self) -> bool:
        return self._hub.has_consumers

    def _start_soon(self, sample: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._owner is not None
        self._owner.start_soon(sample)


def _ends_loop(failure: BaseException, reason: BaseException | None) -> bool:
    """Return whether asyncio has raised ``failure`` out of the event loop, and cancels all tasks.

    If the block raised it again, it would interrupt that, and some tasks would never end.
    """
    asyncio = sys.modules.get("asyncio")
    return (
        isinstance(failure, (KeyboardInterrupt, SystemExit))
        and asyncio is not None
        and isinstance(reason, asyncio.CancelledError)
    )


def _is_normal_end(exc: BaseException | None) -> bool:
    """Return whether a block that ends by ``exc`` finishes its calls, as at a normal end.

    ``sys.exit(0)`` says that the program has succeeded. A generator is closed when its user needs
    it no longer.
    """
    if isinstance(exc, SystemExit):
        return exc.code is None or (isinstance(exc.code, int) and exc.code == 0)
    if exc is None or isinstance(exc, GeneratorExit):
        return True
    grouped = getattr(exc, "exceptions", None)  # BaseExceptionGroup, 3.11
    return isinstance(grouped, tuple) and all(map(_is_normal_end, grouped))


def make_local_engine(
    settings: Settings,
    counters: Counters,
    listener: Listener,
    experiment: SessionExperiment,
    scheduling: Scheduling | None = None,
) -> Engine:
    """Return an engine that works in threads. Its imports take a while: call it in a thread."""
    from .local_engine import LocalEngine

    read_quota()
    return LocalEngine(settings, counters, listener, experiment, scheduling)
