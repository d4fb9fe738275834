"""The worker process of ``isolation="process"``: runs a session for the parent.

It handles messages in the order of their arrival, which is the order of the calls. When the
messages end, for whatever reason, it cancels the calls in flight, leaves its block, and ends. After
the message ``Leave`` it leaves its block without an exception.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import anyio

from .._calls.call import ENDS, Call, Stage
from .._calls.push import PUSH_ENDS, Push, PushStage
from .._dvclive.experiment import OwnExperiment, SessionExperiment
from .._engine.interface import Engine, Listener
from .._engine.session import Session, make_local_engine
from .._engine.settings import Settings
from .._errors import InvalidMetadataError
from .._instrumentation.event_hub import EventHub
from .._instrumentation.events import (
    ArtifactCommitted,
    ArtifactEvent,
    ArtifactStaging,
    PushProgress,
)
from .._instrumentation.sampler import INTERVAL
from .._instrumentation.statistics import Counters
from .._workers.os_priority import Scheduling, WorkerScheduling, lower_priority
from .channel import Channel
from .live_proxy import LiveProxy
from .log_forwarding import forward_records
from .messages import (
    BEAT_SECONDS,
    Advanced,
    Beat,
    Cancel,
    CancelPush,
    Committed,
    Done,
    Entered,
    Leave,
    Left,
    LogArtifact,
    LogLevel,
    Numbers,
    PushAdopted,
    PushBegan,
    PushEnded,
    PushSampled,
    Released,
    Sampled,
    Start,
    StartEvents,
    StartPush,
)
from .portable_errors import errors_to_send

logger = logging.getLogger(__name__)


class _EndedError(Exception):
    """The parent has ended, or has left its block by an exception."""


def serve(socks: Sequence[socket.socket], parent: int, start: Start) -> None:
    """Work for the parent, to the end of its messages. This is the program of the worker process.

    Args:
        socks: connected to the parent; the second one, if any, to its ``dvclive.Live``.
        parent: the process id of the parent.
        start: the session to build.
    """
    lower_priority()
    scheduling = WorkerScheduling()
    scheduling.start()
    anyio.run(_Worker(start, scheduling, *socks).run, parent, start.log_level)
    # Everything is closed. A normal exit would free all objects of DVC, which takes the interpreter
    # as long as leaving the block did.
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(0)


class _Worker:
    """Runs a session for the parent.

    Args:
        start: the session to build.
        scheduling: how the worker threads share processors.
        sock: carries the messages.
        live: leads to the ``dvclive.Live`` of the parent; None: the parent has none.
    """

    def __init__(
        self,
        start: Start,
        scheduling: Scheduling,
        sock: socket.socket,
        live: socket.socket | None = None,
    ) -> None:
        self._live_proxy = None if live is None else LiveProxy(live)
        experiment = self._live_proxy or _make_experiment(start)
        self._scheduling = scheduling
        self._session = Session(start.settings, experiment, self._make_engine, EventHub())
        self._sock = sock
        self._socks = [sock] if live is None else [sock, live]
        self._channel = Channel(self._new_numbers)
        # The calls in flight, by the number that the parent gave them.
        self._calls: dict[int, Call] = {}
        # The number that the parent gave a call, by the number of the call in this process.
        self._parent_numbers: dict[int, int] = {}
        # The pushes in flight, or waiting for their calls, by the number in the parent.
        self._pushes: dict[int, Push] = {}
        # That number, by the number of the push in this process.
        self._parent_pushes: dict[int, int] = {}
        self._sent_numbers: Numbers | None = None
        self._has_calls = anyio.Event()

    def _make_engine(
        self,
        settings: Settings,
        counters: Counters,
        listener: Listener,
        experiment: SessionExperiment,
    ) -> Engine:
        adopt_push = partial(self._adopt_push, listener.adopt_push)
        listener = listener._replace(adopt_push=adopt_push)
        return make_local_engine(settings, counters, listener, experiment, self._scheduling)

    async def run(self, parent: int, log_level: int) -> None:
        """Exchange messages with the parent until the block is left."""
        self._channel.connect(self._sock)
        with forward_records(self._channel, log_level), _ends_with(parent, self._socks):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._channel.run)
                async with anyio.create_task_group() as timer:
                    timer.start_soon(self._report_numbers)
                    timer.start_soon(self._beat)
                    # Around the block: it ends all calls, and their followers report that.
                    async with anyio.create_task_group() as followers:
                        errors = await self._run_session(followers)
                    timer.cancel_scope.cancel()
                self._channel.post(Left(errors))
                self._channel.end()
        self._channel.close()

    async def _run_session(self, followers: anyio.abc.TaskGroup) -> list[Exception]:
        """Run the block; return the error of entering or leaving it, and its causes."""
        try:
            async with self._session as session:
                proxy = self._live_proxy
                live_repository = None if proxy is None else proxy.live_repository
                # The objects of DVC live to the end. Without this, each full collection with many
                # files visits all of them, and stops every other thread.
                gc.freeze()
                self._channel.post(
                    Entered(session.engine.real_root, session.experiment.name, live_repository)
                )
                await self._handle_messages(followers)
        except _EndedError:
            pass
        except Exception as error:
            return errors_to_send(error)
        return []

    async def _handle_messages(self, followers: anyio.abc.TaskGroup) -> None:
        """Handle messages until the block must be left."""
        while True:
            try:
                message = await self._channel.receive()
            except EOFError:
                raise _EndedError from None
            match message:
                case LogArtifact():
                    self._accept(message, followers)
                case Cancel():
                    if message.call in self._calls:  # else the call has just ended
                        self._calls[message.call].cancel_work()
                case StartPush():
                    push = self._session.accept_push(message.request, message.name)
                    self._follow_push(message.push, push)
                case CancelPush():
                    if message.push in self._pushes:  # else the push has just ended
                        self._pushes[message.push].cancel_work()
                case StartEvents():
                    self._session.listen(self._on_event)
                case LogLevel():
                    logging.getLogger("asynclive").setLevel(message.level)
                case Leave():
                    self._session.experiment.add_files(message.files)
                    return

    def _on_event(self, event: ArtifactEvent) -> None:
        """Report samples and commits. The parent makes all other events from stages."""
        if isinstance(event, PushProgress):
            done = event.objects_done, event.bytes_done
            totals = event.objects_total, event.bytes_total
            self._channel.post(PushSampled(self._parent_pushes[event.push], done, totals))
            return
        number = self._parent_numbers.get(event.call)
        if number is None:  # the call is not accepted yet
            return
        if isinstance(event, ArtifactStaging):
            self._channel.post(Sampled(number, event.files_done, event.bytes_done))
        elif isinstance(event, ArtifactCommitted):
            self._channel.post(Committed(number, event.md5))

    def _accept(self, message: LogArtifact, followers: anyio.abc.TaskGroup) -> None:
        """Accept a call. Awaits nothing: the next message is the next call in order."""
        number = message.call
        try:
            try:
                request = pickle.loads(message.request)
            except Exception as error:
                raise InvalidMetadataError("meta", f"cannot be read elsewhere: {error}") from error
            call = self._session.accept(request, message.options)
        except Exception as error:
            self._channel.post(Done(number, "failed", None, errors_to_send(error), None))
            return
        self._calls[number] = call
        self._has_calls.set()
        self._parent_numbers[call.number] = number
        if call.push is not None:
            self._follow_push(number, call.push)
        call.add_listener(partial(self._report_stage, number))
        followers.start_soon(self._follow, number, call)

    def _report_stage(self, number: int, call: Call, before: Stage) -> None:  # noqa: ARG002
        if call.stage not in ENDS:  # ``Done`` reports an end
            done = call.progress
            totals, tracked = (done.bytes_total, done.files_total), (done.size, done.nfiles)
            self._channel.post(Advanced(number, call.stage, totals, tracked))

    async def _follow(self, number: int, call: Call) -> None:
        """Report that the source is released, and then the outcome."""
        call.mark_delivered()  # the parent raises the error, so leaving the block must not
        await call.wait_until_released()
        if not call.is_done:
            self._channel.post(Released(number))
            await call.wait_until_done()
        if number in self._calls:
            self._report_end(number, call)

    def _report_end(self, number: int, call: Call) -> None:
        """Report the outcome of a call."""
        del self._calls[number], self._parent_numbers[call.number]
        if call.push is not None and call.stage != "logged" and number in self._pushes:
            self._forget_push(number, call.push)  # it has not begun
        # The parent knows a successor that is in flight. If it has ended, its outcome is reported.
        successor = next((n for n, c in self._calls.items() if c is call.successor), None)
        last = call.last if successor is None else call
        logged = last.logged and replace(last.logged, desc=None, labels=None, meta=None)
        errors = [] if last.error is None else errors_to_send(last.error)
        self._channel.post(Done(number, call.stage, logged, errors, successor))

    def _adopt_push(self, adopt: Callable[[str, str], Push], path: str, remote: str) -> Push:
        """Follow a push that an earlier session did not end."""
        push = adopt(path, remote)
        number = -push.number
        self._channel.post(PushAdopted(number, path, remote))
        self._follow_push(number, push)
        return push

    def _follow_push(self, number: int, push: Push) -> None:
        """Report the stages of a push from now on."""
        push.mark_delivered()  # the parent raises the error, so leaving the block must not
        self._pushes[number] = push
        self._parent_pushes[push.number] = number
        push.add_listener(partial(self._report_push, number))

    def _report_push(self, number: int, push: Push, before: PushStage) -> None:  # noqa: ARG002
        call = self._calls.get(number)
        if call is not None and call.is_done:
            # The parent must know first that the call was logged: then leaving waits for the push.
            self._report_end(number, call)
        if push.stage in PUSH_ENDS:
            self._forget_push(number, push)
            errors = [] if push.error is None else errors_to_send(push.error)
            self._channel.post(PushEnded(number, push.stage, push.result_record, errors))
        else:
            self._channel.post(PushBegan(number))

    def _forget_push(self, number: int, push: Push) -> None:
        del self._pushes[number], self._parent_pushes[push.number]

    async def _report_numbers(self) -> None:
        """Report the counters ten times a second while calls are in flight.

        Each batch of other messages carries them too, but there may be no message for a long time.
        No call waits for this timer.
        """
        while True:
            await self._has_calls.wait()
            while self._calls:
                await anyio.sleep(INTERVAL)
                numbers = self._new_numbers()
                if numbers is not None:
                    self._channel.post(numbers)
            self._has_calls = anyio.Event()

    async def _beat(self) -> None:
        """Say that this process runs, unless the parent has not read earlier messages."""
        while True:
            await anyio.sleep(BEAT_SECONDS)
            if not self._channel.queue_length:
                pushed = sum(push.progress.bytes_done for push in self._pushes.values())
                self._channel.post(Beat(time.process_time(), pushed))

    def _new_numbers(self) -> Numbers | None:
        """Return the counters if they have changed since they were sent, else None."""
        now = self._session.statistics()
        numbers = Numbers(
            busy_workers=now.busy_workers,
            files_staged=now.files_staged,
            bytes_staged=now.bytes_staged,
            files_unchanged=now.files_unchanged,
            bytes_unchanged=now.bytes_unchanged,
            group_sizes=dict(now.group_sizes),
        )
        if numbers == self._sent_numbers:
            return None
        self._sent_numbers = numbers
        return numbers


def _make_experiment(start: Start) -> SessionExperiment:
    """Return the experiment that this worker saves, or one that saves nothing."""
    if start.experiment is None:
        return SessionExperiment()
    name, message, is_asked_for = start.experiment
    paths = start.settings.experiment_paths
    return OwnExperiment(name, message, paths, os.environ, is_asked_for=is_asked_for)


@contextmanager
def _ends_with(parent: int, socks: Sequence[socket.socket]) -> Iterator[None]:
    """End the messages when the parent ends, even if a child that it forked lives on.

    Such a child keeps the parent's ends of the sockets open. On Linux, a pidfd tells when any
    process has ended.
    """
    try:
        process = os.pidfd_open(parent) if hasattr(os, "pidfd_open") else None
    except OSError:  # an older kernel, or the parent has ended
        process = None
    if process is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def on_end() -> None:
        loop.remove_reader(process)  # the pidfd stays readable
        _end_messages(socks)

    loop.add_reader(process, on_end)
    try:
        if not _descends_from(parent):  # it ended earlier: the pidfd is of another process
            _end_messages(socks)
        yield
    finally:
        loop.remove_reader(process)
        os.close(process)


def _descends_from(pid: int) -> bool:
    """Return whether ``pid`` is an ancestor: a wrapper of the interpreter may be the parent."""
    ancestor = os.getppid()
    try:
        while ancestor not in (0, 1, pid):
            with open(f"/proc/{ancestor}/stat", encoding="utf-8", errors="replace") as file:
                # The name, in parentheses, may hold anything. The state comes before the parent.
                ancestor = int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return ancestor == pid


def _end_messages(socks: Sequence[socket.socket]) -> None:
    for sock in socks:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RD)
