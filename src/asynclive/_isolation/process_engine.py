"""The engine of ``isolation="process"``: hands calls to a worker process.

It keeps the calls and pushes in flight, and applies the changes that the worker reports to them.
"""

from __future__ import annotations

import logging
import pickle
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import anyio.abc

from .._calls.call import Call, Stage
from .._calls.push import Push
from .._dvclive.experiment import SessionExperiment
from .._engine.interface import Listener
from .._engine.settings import Settings
from .._errors import InvalidMetadataError, PushError
from .._instrumentation.statistics import Counters
from .messages import (
    NO_NUMBERS,
    Advanced,
    Cancel,
    CancelPush,
    Committed,
    Done,
    Entered,
    LogArtifact,
    LogRecord,
    Numbers,
    PushAdopted,
    PushBegan,
    PushEnded,
    PushSampled,
    Released,
    Sampled,
    StartPush,
    add_numbers,
)
from .portable_errors import received_error
from .worker_lifecycle import WorkerLifecycle

_GOES_ON = (
    "Logged artifacts stay committed. The next worker process, the next session with push=, or "
    "'asynclive push' goes on."
)


class ProcessEngine:
    """Works on calls in a process of its own.

    Args:
        settings: the settings of the session, here and in the worker.
        counters: the counters of the session, to which those of the workers are add_numbers.
        listener: the callbacks of the session.
        experiment: the experiment that the block ends in.
    """

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        listener: Listener,
        experiment: SessionExperiment,
    ) -> None:
        self._counters = counters
        self._listener = listener
        self._experiment = experiment
        self._lifecycle = WorkerLifecycle(settings, experiment, self)
        self._real_root = settings.root
        self._call_numbers = count()
        self._calls: dict[int, Call] = {}  # in flight
        # By the number of the call or of the push itself: in flight, or waiting for the call.
        self._pushes: dict[int, Push] = {}
        self._lost_pushes: list[Push] = []
        # The counters of the current worker, and the sum of those of the workers before it.
        self._current = self._earlier = NO_NUMBERS

    @property
    def real_root(self) -> str:
        return self._real_root

    @property
    def busy_workers(self) -> int:
        """The number of threads that worked in the worker at its last report."""
        return self._current.busy_workers

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Run a worker from entering to leaving; start another one after it was killed."""
        await self._lifecycle.serve(task_status.started)

    def accept(self, call: Call) -> None:
        """Hand a call to the worker, after those accepted before. Awaits nothing.

        Raises:
            InvalidMetadataError: the request does not pickle.
        """
        number = next(self._call_numbers)
        try:
            request = pickle.dumps(call.request)
        except Exception as error:  # a class of the caller's, such as the time zone of a datetime
            raise InvalidMetadataError(
                "meta", f"cannot be handed to another process: {error}. Use plain values."
            ) from error
        self._lifecycle.send_log_level()
        channel = self._lifecycle.channel
        channel.post(LogArtifact(number, request, call.options))
        call.bind_work(partial(channel.post, Cancel(number)))
        self._calls[number] = call
        if call.push is not None:
            self._mirror_push(number, call.push)
        self._lifecycle.need_worker()

    def accept_push(self, push: Push) -> None:
        """Hand a push to the worker, after the calls and pushes accepted before. Awaits nothing."""
        number = next(self._call_numbers)
        self._lifecycle.send_log_level()
        self._lifecycle.channel.post(StartPush(number, push.request, push.name))
        self._mirror_push(number, push)
        self._lifecycle.need_worker()

    def _mirror_push(self, number: int, push: Push) -> None:
        """Let the messages of the worker with this number change the push."""
        self._pushes[number] = push
        push.bind_work(partial(self._lifecycle.channel.post, CancelPush(number)))

    def start_events(self) -> None:
        self._lifecycle.start_events()

    def stop_accepting(self) -> None:
        """Do nothing: the worker treats every call as awaited when it leaves its block."""

    def begin_leaving(self, *, hurry: bool) -> None:
        self._lifecycle.begin_leaving(hurry=hurry)

    def leave_normally(self) -> None:
        self._lifecycle.leave_normally()

    # CallKeeper, for the lifecycle

    @property
    def has_calls(self) -> bool:
        return bool(self._calls or self._pushes)

    def take_calls(self) -> list[Call]:
        calls = list(self._calls.values())
        # Without its call, a push that waits is neither begun nor awaited.
        self._lost_pushes += [
            push
            for number, push in self._pushes.items()
            if push.stage != "waiting" or number not in self._calls
        ]
        self._calls, self._pushes = {}, {}
        self._earlier = add_numbers(self._earlier, self._current)
        self._set_numbers(NO_NUMBERS)
        return calls

    def fail_call(self, call: Call, error: Exception) -> None:
        call.fail(error)
        self._end(call, "failed")

    def fail_pushes(self, error: Exception) -> None:
        pushes, self._lost_pushes = self._lost_pushes, []
        for push in pushes:
            lost = PushError(push.request.remote, f"{error} {_GOES_ON}")
            lost.__cause__ = error
            push.fail(lost)

    def on_message(self, message: Any) -> None:
        match message:
            case Numbers():
                self._set_numbers(message)
            case Advanced():
                self._on_advanced(self._calls[message.call], message)
            case Sampled():
                progress = self._calls[message.call].progress
                progress.set_counts(message.files_done, message.bytes_done)
            case Committed():
                self._listener.on_committed(self._calls[message.call], message.md5)
            case Released():
                self._calls[message.call].release()
            case Done():
                self._on_done(self._calls.pop(message.call), message)
            case PushBegan():
                self._pushes[message.push].begin()
            case PushSampled():
                counts = self._pushes[message.push].progress
                counts.set_totals(counts.remote, *message.totals)
                counts.set_counts(*message.done)
            case PushEnded():
                _end_push(self._pushes.pop(message.push), message)
            case PushAdopted():
                self._mirror_push(
                    message.push, self._listener.adopt_push(message.path, message.remote)
                )
            case LogRecord():
                _handle_log_record(message)
            case Entered():
                self._real_root = message.real_root

    def _on_advanced(self, call: Call, message: Advanced) -> None:
        call.progress.set_totals(*message.totals)
        call.progress.set_staged(*message.tracked)
        call.advance(message.stage)

    def _on_done(self, call: Call, message: Done) -> None:
        if message.logged is not None:
            request = call.request
            logged = replace(
                message.logged, desc=request.desc, labels=request.labels, meta=request.meta
            )
            call.complete(logged)
            self._experiment.add_artifact(logged)
        elif message.successor is not None:
            call.supersede_by(self._calls[message.successor])
        elif message.stage == "cancelled" and call.cancellation is not None:
            call.abandon(call.cancellation)  # the worker does not know the reason
        else:
            call.fail(received_error(message.errors))
        self._end(call, message.stage)
        if message.stage != "logged" and message.call in self._pushes:
            # Before its commit, the push has ended and is forgotten; else it has not begun.
            del self._pushes[message.call]

    def _end(self, call: Call, stage: Stage) -> None:
        call.advance(stage)
        self._listener.on_ended(call)
        call.finish()

    def _set_numbers(self, numbers: Numbers) -> None:
        self._current = numbers
        total = add_numbers(self._earlier, numbers)
        self._counters.replace_work(
            files_staged=total.files_staged,
            bytes_staged=total.bytes_staged,
            files_unchanged=total.files_unchanged,
            bytes_unchanged=total.bytes_unchanged,
            group_sizes=total.group_sizes,
        )


def _end_push(push: Push, message: PushEnded) -> None:
    if message.result is not None:
        push.complete(message.result)
    elif message.stage == "cancelled":
        push.abandon(push.cancellation or received_error(message.errors))
    else:
        push.fail(received_error(message.errors))


def _handle_log_record(message: LogRecord) -> None:
    """Handle a log record of the worker as if this process had logged it."""
    record = logging.makeLogRecord(message.values)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        with suppress(Exception):  # from a filter of the application
            logger.handle(record)
