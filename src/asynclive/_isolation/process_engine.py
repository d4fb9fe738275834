"""The engine of ``AsyncLive(isolation="process")``: hands calls on to a worker process.

Of each call in flight it keeps what the caller looks at, and does to it what the worker says.
The worker is started on entering, and again once it is needed after it was killed.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

import anyio
import anyio.abc
import anyio.to_thread

from .._calls.call import Call, Stage
from .._dvclive.experiment import SessionExperiment
from .._engine.interface import Listener
from .._errors import ExperimentError, InvalidMetadataError, WorkerDiedError
from .._instrumentation.statistics import Counters
from .channel import Channel
from .live_proxy import WorkerRepository, attend
from .messages import (
    NO_NUMBERS,
    Advanced,
    Cancel,
    Committed,
    Done,
    Entered,
    Leave,
    Left,
    Level,
    Log,
    Numbers,
    Record,
    Released,
    Sampled,
    Watch,
    added,
)
from .portable_errors import chained
from .start_worker import ended_how, start_worker

T = TypeVar("T")

# Of a call, what its caller has chosen.
_OPTIONS = ("submitted", "latest_wins", "move", "waits_for_room")

logger = logging.getLogger(__name__)


class ProcessEngine:
    """Works on calls in a process of its own.

    Args:
        settings: the arguments of the ``AsyncLive`` there.
        counters: what is counted, here and there.
        listener: told of each call that was committed, or has ended.
        experiment: that the block ends in; the worker saves it, unless it is that of a Live.
    """

    real_root: str

    def __init__(
        self,
        settings: dict[str, Any],
        counters: Counters,
        listener: Listener,
        experiment: SessionExperiment,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._listener = listener
        self._experiment = experiment
        self.left_normally = False
        self._watched = False
        self._call_numbers = count()
        self._now = self._before = NO_NUMBERS  # from this worker, and from those before it
        self._channel = Channel()
        self._level = logging.NOTSET
        self._calls: dict[int, Call] = {}  # in flight
        # In flight when their worker ended, with what they are told once there is another.
        self._lost: list[tuple[Call, Exception]] = []
        self._entered = self._leaving = False
        self._place: tuple[str, str] | None = None
        self._left: Left | None = None
        self._error: Exception | None = None

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Have a worker from entering to leaving.

        Raises:
            AsyncLiveError: it could not enter, or not leave.
        """
        self._environment = dict(os.environ)
        self._ready, self._over, self._wanted = anyio.Event(), anyio.Event(), anyio.Event()
        self._welcome = anyio.Event()
        # For the thread that starts a process, or waits until it is gone.
        self._limiter = anyio.CapacityLimiter(1)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._have_workers)
                try:
                    await self._ready.wait()
                    if self._error is None:
                        # In a task of its own: native cancellation of who enters, which comes
                        # to this one, leaves no thread behind.
                        tasks.start_soon(self._enter_experiment)
                        await self._welcome.wait()
                        task_status.started()
                    await self._over.wait()
                finally:
                    # The worker sees the end of the messages: it takes back what is in flight,
                    # and ends. That is waited for.
                    self._leaving = True
                    if self.left_normally:
                        self._channel.post(Leave([*self._experiment.files]))
                    self._channel.end()
                    self._wanted.set()
        finally:
            with anyio.CancelScope(shield=True):
                leave = partial(self._experiment.leave, normally=self.left_normally)
                await self._in_thread(leave)
            # Here, for whoever leaves cancels this task.
            if self._error is not None and (self.left_normally or not self._welcome.is_set()):
                raise self._error

    async def _enter_experiment(self) -> None:
        if self._place is not None:
            place = WorkerRepository(*self._place)
            await self._in_thread(partial(self._experiment.enter_beside, place))
        self._welcome.set()

    async def _in_thread(self, func: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(func, limiter=self._limiter)

    def accept(self, call: Call) -> None:
        """Hand a call on, after those that were accepted before. Nothing is awaited.

        Raises:
            InvalidMetadataError: it holds what cannot be handed on.
        """
        number = next(self._call_numbers)
        try:
            request = pickle.dumps(call.request)
        except Exception as error:  # by a class of the caller's: the zone of a time
            raise InvalidMetadataError(
                "meta", f"cannot be handed to another process: {error}. Use plain values."
            ) from error
        channel = self._channel
        if self._level != (level := _level()):
            self._level = level
            channel.post(Level(level))
        channel.post(Log(number, request, {name: getattr(call, name) for name in _OPTIONS}))
        # What is cancelled is the worker's task; there is none here.
        scope = _Cancellation(lambda: channel.post(Cancel(number)))
        call.scope = cast(anyio.CancelScope, scope)
        self._calls[number] = call
        self._wanted.set()

    def watch(self) -> None:
        """Somebody listens to events from now on."""
        if not self._watched:
            self._watched = True
            self._channel.post(Watch())

    def stop_taking(self) -> None:
        """No call comes any more: there, all that are in flight are waited for anyway."""

    @property
    def busy_workers(self) -> int:
        """How many threads are at work there, as it has said last."""
        return self._now.busy_workers

    async def _have_workers(self) -> None:
        """Have one after the other, for as long as one is needed."""
        with anyio.CancelScope(shield=True):
            try:
                while True:
                    await self._have_worker()
                    if self._leaving or self._error is not None:
                        break
                    if not self._calls and not self._lost:
                        self._wanted = anyio.Event()
                        await self._wanted.wait()
            finally:
                # None, unless asyncio's own cancellation went through the shield.
                for call in self._take_calls():
                    self._lost.append((call, WorkerDiedError(call.request.given, "was left alone")))
                self._tell_lost()
                self._ready.set()
                self._over.set()

    async def _have_worker(self) -> None:
        """Start a worker and do what it says until it has ended. What that means to its calls."""
        self._entered, self._left = False, None
        self._level = _level()
        settings = {**self._settings, **self._experiment.settings}
        count = 1 if self._experiment.beside is None else 2
        start = partial(start_worker, settings, self._level, self._environment, count)
        status: int | None = None
        cause: Exception | None = None
        try:
            self._process, socks = await self._in_thread(start)
        except OSError as error:
            how, cause = f"could not be started: {error}", error
            calls = self._take_calls()
        else:
            calls = await self._converse(*socks)
            status = await self._in_thread(self._process.wait)
            how = ended_how(status)
        said = chained(self._left.errors) if self._left and self._left.errors else None

        def error_for(path: str | None) -> Exception:
            error = WorkerDiedError(path, how, status) if said is None else copy(said)
            error.__cause__ = cause if said is None else said.__cause__
            return error

        lost = [(call, error_for(call.request.given)) for call in calls]
        if self._entered and self._left is None:
            logger.warning("The worker process %s.", how)
            if not self._leaving:
                # They are told when the next one has put right what this one left.
                self._lost = lost
                return
            if self.left_normally and self._experiment.is_workers:
                self._error = _not_saved(self._experiment.name, how)
        elif (said or not self._entered) and (self._leaving or not self._ready.is_set()):
            self._error = error_for(None)
        self._lost += lost
        self._tell_lost()

    async def _converse(self, sock: socket.socket, live: socket.socket | None = None) -> list[Call]:
        """Send and take messages until the worker has ended; the calls that it had in flight."""
        channel = self._channel
        channel.connect(sock)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(channel.run)
                if live is not None:
                    tasks.start_soon(self._attend, live)
                while True:
                    try:
                        message = await channel.receive()
                    except EOFError:
                        break
                    self._take(message)
                calls = self._take_calls()
                tasks.cancel_scope.cancel()
        finally:
            channel.close()
        return calls

    async def _attend(self, sock: socket.socket) -> None:
        """Have a thread of its own tell the Live what the worker records, and close the socket.

        It ends with the worker, which is why it is not to be cancelled before.
        """
        beside = self._experiment.beside
        assert beside is not None

        def attend_and_close() -> None:
            with sock:
                attend(beside, sock)

        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(attend_and_close, limiter=anyio.CapacityLimiter(1))

    def _take_calls(self) -> list[Call]:
        """The calls whose worker has ended. From now on they are the next one's."""
        calls = list(self._calls.values())
        self._calls = {}
        self._channel = Channel()
        if self._watched:
            self._channel.post(Watch())
        if self._leaving:
            self._channel.end()
        self._before = added(self._before, self._now)
        self._count(NO_NUMBERS)
        return calls

    def _tell_lost(self) -> None:
        for call, error in self._lost:
            call.error = error
            self._end(call, "failed")
        self._lost = []

    def _end(self, call: Call, stage: Stage) -> None:
        call.advance(stage)
        self._listener.ended(call)
        call.end()

    def _count(self, numbers: Numbers) -> None:
        self._now = numbers
        total = added(self._before, numbers)
        self._counters.files_staged = total.files_staged
        self._counters.bytes_staged = total.bytes_staged
        self._counters.files_unchanged = total.files_unchanged
        self._counters.bytes_unchanged = total.bytes_unchanged
        self._counters.group_sizes = total.group_sizes

    def _take(self, message: Any) -> None:
        if isinstance(message, Numbers):
            self._count(message)
        elif isinstance(message, Advanced):
            call = self._calls[message.call]
            progress = call.progress
            progress.bytes_total, progress.files_total = message.totals
            progress.size, progress.nfiles = message.tracked
            call.advance(message.stage)
        elif isinstance(message, Sampled):
            self._calls[message.call].progress.reach(message.files_done, message.bytes_done)
        elif isinstance(message, Committed):
            self._listener.committed(self._calls[message.call], message.md5)
        elif isinstance(message, Released):
            self._calls[message.call].released.set()
        elif isinstance(message, Done):
            call = self._calls.pop(message.call)
            if message.logged is not None:
                request = call.request
                call.logged = replace(
                    message.logged, desc=request.desc, labels=request.labels, meta=request.meta
                )
                self._experiment.logged(call.logged)
            elif message.successor is not None:
                call.successor = self._calls[message.successor]
            else:  # where it was cancelled here, why it was is known here
                call.error = call.why_cancelled if message.stage == "cancelled" else None
                call.error = call.error or chained(message.errors)
            self._end(call, message.stage)
        elif isinstance(message, Record):
            record = logging.makeLogRecord(message.values)
            to = logging.getLogger(record.name)
            if to.isEnabledFor(record.levelno):
                with suppress(Exception):  # of a filter of the caller's
                    to.handle(record)
        elif isinstance(message, Entered):
            self.real_root = message.real_root
            self._place = message.place
            self._experiment.named(message.exp_name)
            self._entered = True
            self._ready.set()
            self._tell_lost()
        elif isinstance(message, Left):
            self._left = message


class _Cancellation:
    """In place of a call's cancel scope."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self.cancel_called = False

    def cancel(self) -> None:
        if not self.cancel_called:
            self.cancel_called = True
            self._cancel()


def _not_saved(name: str | None, how: str) -> ExperimentError:
    return ExperimentError(
        name,
        f"its process {how}. What was logged is tracked all the same; run 'dvc exp save', unless "
        "'dvc exp list' has it.",
    )


def _level() -> int:
    """From which level on somebody here wants asynclive's log records."""
    return logging.getLogger("asynclive").getEffectiveLevel()
