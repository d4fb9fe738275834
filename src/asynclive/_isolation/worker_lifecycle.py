"""Starts the worker process, and another one after it was killed, until the block is left."""

from __future__ import annotations

import enum
import logging
import os
import socket
import subprocess
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio

from .._calls.call import Call
from .._dvclive.experiment import SessionExperiment
from .._dvcyaml.co_writer import CoWriter
from .._engine.settings import Settings
from .._errors import ExperimentError, NotActiveError, ResourceLimitError, WorkerDiedError
from .._workers import helper_process
from .._workers.helper_process import NotPythonError
from .._workers.thread_start import refusal_as_error, run_in_any_thread
from .channel import Channel
from .live_proxy import WorkerRepository, serve_live
from .messages import BEAT_SECONDS, Entered, Leave, Left, LogLevel, Start, StartEvents
from .portable_errors import received_error
from .start_worker import describe_end, first_messages, start_worker
from .worker_watch import WorkerWatch

T = TypeVar("T")

logger = logging.getLogger(__name__)


class CallKeeper(Protocol):
    """The engine, as the lifecycle uses it: it keeps the calls in flight."""

    def on_message(self, message: Any) -> None:
        """Handle a message about calls."""
        ...

    @property
    def has_calls(self) -> bool:
        """Whether calls or pushes are in flight."""
        ...

    def take_calls(self) -> list[Call]:
        """Return the calls in flight, and forget them: their worker has ended."""
        ...

    def fail_call(self, call: Call, error: Exception) -> None:
        """End a call whose worker has ended."""
        ...

    def fail_pushes(self, error: Exception) -> None:
        """End the pushes that were in flight when the calls were taken."""
        ...


class _Phase(enum.Enum):
    """The phases of a lifecycle, in their order."""

    STARTING = enum.auto()
    """No worker has opened the repository yet."""
    READY = enum.auto()
    """A worker has opened the repository. If it was killed, another one may follow."""
    LEAVING = enum.auto()
    """The block is being left: a worker that ends has no successor."""


@dataclass(frozen=True, slots=True)
class _WorkerEnd:
    """How a worker ended."""

    how: str
    """Continues the sentence "The worker process ..."."""
    status: int | None
    """The exit status; None: the worker could not be started."""
    error: Exception | None
    """The error that the worker reported when it left."""
    cause: Exception | None
    """The error of starting the worker."""

    @classmethod
    def not_started(cls, error: Exception) -> _WorkerEnd:
        return cls(f"could not be started: {error}", status=None, error=None, cause=error)

    def error_for(self, path: str | None, advice: str | None = None) -> Exception:
        """Return the error of one artifact; None: of entering or leaving the block, or of a push.

        Args:
            path: the path of the artifact.
            advice: what to do if the process could be started; None: try again.
        """
        if self.error is None:
            advice = advice if self.cause is None else helper_process.remedy(self.cause)
            error: Exception = WorkerDiedError(path, self.how, self.status, advice)
            error.__cause__ = self.cause
        else:
            error = copy(self.error)
            error.__cause__ = self.error.__cause__
        return error


class WorkerLifecycle:
    """Keeps a worker process running from entering to leaving.

    Args:
        settings: the settings of the session.
        experiment: the experiment that the block ends in. The worker saves it, unless a
            ``dvclive.Live`` does.
        keeper: handles messages about calls, and keeps the calls in flight.
    """

    def __init__(
        self, settings: Settings, experiment: SessionExperiment, keeper: CallKeeper
    ) -> None:
        self._settings = settings
        self._experiment = experiment
        self._keeper = keeper
        self._phase = _Phase.STARTING
        self._left_normally = False
        self._watch = WorkerWatch(settings.leave_timeout, settings.lock_timeout)
        self._has_consumers = False
        self._log_level = logging.NOTSET
        self._environment = dict(os.environ)
        # Leads to the current worker, or to the next one.
        self.channel = Channel()
        # For the thread that starts a process, or waits until it has ended.
        self._limiter = anyio.CapacityLimiter(1)
        self._ready = anyio.Event()  # a worker has opened the repository, or none will
        self._experiment_entered = anyio.Event()
        self._workers_ended = anyio.Event()  # and no other worker will start
        self._leaving = anyio.Event()
        self._needed = anyio.Event()  # a call waits for a worker, or the block is being left
        # The current worker, and its messages about entering and leaving.
        self.process: subprocess.Popen[bytes] | None = None
        self._entered: Entered | None = None
        self._left: Left | None = None
        # Entered while a program that was started has not said that it is a worker.
        self._handshake: anyio.CancelScope | None = None
        # The exchange of messages with the current worker.
        self._conversation: anyio.CancelScope | None = None
        self._live_sock: socket.socket | None = None
        # How a worker failed for which the block did not wait any longer.
        self._gave_up: str | None = None
        # Calls in flight when their worker was killed, with the errors that they get once another
        # worker has repaired the repository.
        self._lost_calls: list[tuple[Call, Exception]] = []
        self._error: Exception | None = None

    async def serve(self, on_started: Callable[[], None]) -> None:
        """Keep a worker running until cancelled; call ``on_started`` once the block is entered.

        Raises:
            AsyncLiveError: a worker could not enter the block, or not leave it.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run_workers)
                tasks.start_soon(self._watch_leaving)
                try:
                    await self._ready.wait()
                    if self._error is None:
                        # In a task of its own: a native cancellation of the caller, which comes
                        # to this task, then leaves no thread behind.
                        tasks.start_soon(self._enter_experiment)
                        await self._experiment_entered.wait()
                        on_started()
                    await self._workers_ended.wait()
                finally:
                    # The worker sees the end of the messages, rolls back the calls in flight, and
                    # ends. The task group waits for that.
                    self._phase = _Phase.LEAVING
                    self.begin_leaving(hurry=not self._left_normally)
                    if self._handshake is not None and not self._must_save:
                        self._handshake.cancel()
                    if self._left_normally:
                        self.channel.post(Leave([*self._experiment.files]))
                    self.channel.end()
                    self._needed.set()
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(
                    partial(
                        self._experiment.leave,
                        normally=self._left_normally,
                        lock_timeout=self._settings.lock_timeout,
                    )
                )
            # Here, because leaving cancels this task.
            if self._error is not None and (
                self._left_normally or not self._experiment_entered.is_set()
            ):
                raise self._error

    def need_worker(self) -> None:
        """Start a worker if none runs."""
        self._needed.set()

    def start_events(self) -> None:
        """Let this worker and the next ones report samples and commits."""
        if not self._has_consumers:
            self._has_consumers = True
            self.channel.post(StartEvents())

    def send_log_level(self) -> None:
        """Tell the worker the log level of this process, if it has changed."""
        level = _log_level()
        if self._log_level != level:
            self._log_level = level
            self.channel.post(LogLevel(level))

    def begin_leaving(self, *, hurry: bool) -> None:
        """Wait for a worker that does not answer for a limited time only."""
        if hurry:
            self._watch.hurry()
        if not self._leaving.is_set():
            self._watch.begin()
            self._leaving.set()

    def leave_normally(self) -> None:
        self._left_normally = True
        if self._gave_up is not None and self._experiment.is_saved_by_worker:
            self._error = _not_saved(self._experiment.name, self._gave_up)

    @property
    def _must_save(self) -> bool:
        """Whether the last worker must save the experiment of a block that was left normally."""
        return self._left_normally and self._experiment.is_saved_by_worker

    async def _watch_leaving(self) -> None:
        """Kill a worker that does not answer, or makes no progress, while the block is left."""
        with anyio.CancelScope(shield=True):
            await self._leaving.wait()
            while not self._workers_ended.is_set():
                with anyio.move_on_after(BEAT_SECONDS):
                    await self._workers_ended.wait()
                how = None if self._conversation is None else self._watch.count(BEAT_SECONDS)
                if how is not None:
                    await self._give_up(how)

    async def _give_up(self, how: str) -> None:
        """Kill the worker, and do not wait for it even if the system cannot end it."""
        assert self.process is not None
        self._phase = _Phase.LEAVING  # no other worker follows
        self._gave_up = how
        self.process.kill()
        conversation = self._conversation
        with anyio.move_on_after(helper_process.KILL_SECONDS):
            await self._workers_ended.wait()
        if conversation is not None and conversation is self._conversation:
            if self._live_sock is not None:
                self._live_sock.shutdown(socket.SHUT_RDWR)
            conversation.cancel()
        await self._workers_ended.wait()

    async def _run_workers(self) -> None:
        """Run one worker after another, as long as one is needed."""
        with anyio.CancelScope(shield=True):
            try:
                while True:
                    await self._run_worker()
                    if self._phase is _Phase.LEAVING or self._error is not None:
                        break
                    if not self._keeper.has_calls and not self._lost_calls:
                        self._needed = anyio.Event()
                        await self._needed.wait()
            finally:
                # No call is left, unless a native cancellation of asyncio pierced the shield.
                for call in self._take_calls():
                    self._lost_calls.append((call, _loop_ended(call.request.given)))
                self._fail_lost_calls()
                self._keeper.fail_pushes(NotActiveError(_LOOP_ENDED))
                self._ready.set()
                self._workers_ended.set()

    async def _run_worker(self) -> None:
        """Run one worker to its end, and fail the calls and pushes that it has lost.

        1. The worker was killed. The next worker repairs the repository first; then its calls
           fail. Without a next worker they fail at once. Its pushes need no repair.
        2. The worker could not start or enter, or it left with an error, while no block is active:
           its error is raised on entering or on leaving.
        3. The worker left in order. No call is left, unless the block was left by an exception.
        """
        calls, end = await self._start_and_converse()
        lost_calls = [(call, end.error_for(call.request.given)) for call in calls]
        self._keeper.fail_pushes(end.error_for(None, "A new one takes the next calls."))
        if self._entered and self._left is None:  # 1.
            logger.warning("The worker process %s.", end.how)
            if self._phase is not _Phase.LEAVING:
                self._lost_calls = lost_calls
                return
            if self._must_save:
                self._error = _not_saved(self._experiment.name, end.how)
        elif (
            self._phase is _Phase.LEAVING
            and self._must_save
            and not self._entered
            and not end.error
        ):
            self._error = _not_saved(self._experiment.name, end.how)
        elif self._phase is _Phase.STARTING or (end.error and self._phase is _Phase.LEAVING):  # 2.
            self._error = end.error_for(None)
        self._lost_calls += lost_calls
        self._fail_lost_calls()

    async def _start_and_converse(self) -> tuple[list[Call], _WorkerEnd]:
        """Start a worker, exchange messages until it ends; return its calls, and how it ended."""
        self._entered = self._left = None
        self._log_level = _log_level()
        start = Start(self._settings, self._experiment.for_worker, self._log_level)
        sockets = 1 if self._experiment.co_writer is None else 2
        try:
            process, socks = await self._in_thread(
                partial(start_worker, self._environment, sockets)
            )
        except OSError as error:
            return self._take_calls(), _WorkerEnd.not_started(error)
        self.process = process
        self.channel.connect(socks[0])
        not_python = await self._shake_hands(process)
        if not_python is not None:
            for sock in socks:
                sock.close()
            return self._take_calls(), _WorkerEnd.not_started(not_python)
        self.channel.post_first(await self._in_thread(partial(first_messages, start)))
        try:
            calls = await self._converse(*socks[1:])
        except BaseException:
            # asyncio cancels every task at once. A worker that has lost its sockets still undoes or
            # commits its calls, and must not be left at it when this process ends.
            limit = self._settings.leave_timeout
            end = process.wait if limit is None else partial(helper_process.end, process, limit)
            await self._in_thread(end)
            raise
        if self._gave_up is not None:
            await self._in_thread(partial(helper_process.kill, process))
            return calls, _WorkerEnd(self._gave_up, status=None, error=None, cause=None)
        status = await self._in_thread(partial(helper_process.end, process))
        errors = self._left.errors if self._left else ()
        worker_error = received_error(errors) if errors else None
        return calls, _WorkerEnd(describe_end(status), status, worker_error, cause=None)

    async def _shake_hands(self, process: subprocess.Popen[bytes]) -> NotPythonError | None:
        """Wait until the process says that it runs; else end it, and return why it does not."""
        tag = status = None
        with anyio.move_on_after(helper_process.start_seconds()) as self._handshake:
            if self._phase is _Phase.LEAVING and not self._must_save:
                self._handshake.cancel()
            try:
                tag = await self.channel.receive()
            except EOFError:
                status = await self._in_thread(partial(helper_process.end, process))
        try:
            if status is not None:
                raise NotPythonError(helper_process.ended_early(status))
            if tag is None:
                raise NotPythonError(helper_process.not_answered())
            helper_process.check_tag(tag)
        except NotPythonError as error:
            await self._in_thread(partial(helper_process.kill, process))
            return error
        return None

    async def _converse(self, live: socket.socket | None = None) -> list[Call]:
        """Exchange messages until the worker has ended; return its calls in flight."""
        channel, calls = self.channel, None
        self._live_sock = live
        self._watch.begin()
        try:
            async with anyio.create_task_group() as tasks:
                self._conversation = tasks.cancel_scope
                tasks.start_soon(channel.run)
                if live is not None:
                    tasks.start_soon(self._serve_live, live)
                while True:
                    try:
                        message = await channel.receive()
                    except EOFError:
                        break
                    self._watch.hear(message)
                    if isinstance(message, Entered):
                        self._on_entered(message)
                    elif isinstance(message, Left):
                        self._left = message
                    else:
                        self._keeper.on_message(message)
                calls = self._take_calls()
                tasks.cancel_scope.cancel()
        finally:
            self._conversation = self._live_sock = None
            channel.close()
        return self._take_calls() if calls is None else calls

    def _on_entered(self, message: Entered) -> None:
        self._entered = message
        self._keeper.on_message(message)
        self._experiment.set_name(message.exp_name)
        if self._phase is _Phase.STARTING:
            self._phase = _Phase.READY
        self._ready.set()
        self._fail_lost_calls()

    async def _serve_live(self, sock: socket.socket) -> None:
        """Serve the requests of the worker to the ``dvclive.Live`` in a thread of their own.

        The thread ends with the worker, so it must not be cancelled before.
        """
        co_writer = self._experiment.co_writer
        assert co_writer is not None
        limiter = anyio.CapacityLimiter(1)
        with anyio.CancelScope(shield=True):
            try:
                with refusal_as_error():
                    serve = partial(_serve_live_and_close, co_writer, sock)
                    await anyio.to_thread.run_sync(serve, limiter=limiter)
            except ResourceLimitError as error:
                logger.error("The dvclive.Live cannot be served: %s", error)
                assert self.process is not None
                self.process.kill()
                sock.close()

    def _take_calls(self) -> list[Call]:
        """Return the calls of a worker that has ended, and make the channel of the next worker."""
        calls = self._keeper.take_calls()
        self.channel = Channel()
        if self._has_consumers:
            self.channel.post(StartEvents())
        if self._phase is _Phase.LEAVING:
            self.channel.end()
        return calls

    def _fail_lost_calls(self) -> None:
        for call, error in self._lost_calls:
            self._keeper.fail_call(call, error)
        self._lost_calls = []

    async def _enter_experiment(self) -> None:
        assert self._entered is not None
        if self._entered.live_repository is not None:
            repository = WorkerRepository(*self._entered.live_repository)
            await self._in_thread(partial(self._experiment.enter_co_writer, repository))
        self._experiment_entered.set()

    async def _in_thread(self, func: Callable[[], T]) -> T:
        return await run_in_any_thread(func, self._limiter)


def _serve_live_and_close(co_writer: CoWriter, sock: socket.socket) -> None:
    with sock:  # in the thread, which may outlive a task that a native cancellation ends
        serve_live(co_writer, sock)


_LOOP_ENDED = "The event loop ended before the block of AsyncLive."


def _loop_ended(path: str) -> NotActiveError:
    return NotActiveError(
        f"{_LOOP_ENDED} '{path}' was in flight: it is either completely logged or not at all. Log "
        "it again in another block."
    )


def _not_saved(name: str | None, how: str) -> ExperimentError:
    return ExperimentError(
        name,
        f"the worker process {how}. The logged artifacts are tracked all the same. Run 'dvc exp "
        "save', unless 'dvc exp list' shows the experiment.",
    )


def _log_level() -> int:
    """Return the minimum level of log records of asynclive that this process handles."""
    return logging.getLogger("asynclive").getEffectiveLevel()
