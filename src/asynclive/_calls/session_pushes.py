"""SessionPushes: the pushes of one session. Counts them, and turns their changes into events."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .._artifact.push_policy import PushPolicy
from .._artifact.push_records import PushRequest
from .._instrumentation import tracing
from .._instrumentation.event_hub import EventHub
from .._instrumentation.events import Pushed, PushEvent, PushFailed, PushProgress, PushStarted
from .._instrumentation.sampler import Sampler
from .._instrumentation.statistics import Counters
from .call import Call
from .push import PUSH_ENDS, Push, PushStage
from .unawaited_errors import UnawaitedErrors

_Head = tuple[float, int, str, Path, int]
"""The fields that all events of pushes begin with: time, call, name, path, number of the push."""


class SessionPushes:
    """The pushes of one session. Used on the event loop alone.

    Args:
        policy: the policy of the session; None: artifacts are not pushed.
        root: the path in the events of a push that belongs to no artifact.
        counters: count the pushes.
        hub: gets the events.
        sampler: samples the progress.
        unawaited: gets the pushes that failed or were dropped.
        on_ended: called when a push that leaving waits for has ended.
    """

    def __init__(
        self,
        policy: PushPolicy | None,
        root: str,
        counters: Counters,
        hub: EventHub,
        sampler: Sampler,
        unawaited: UnawaitedErrors,
        on_ended: Callable[[], None],
    ) -> None:
        self._policy = policy
        self._root = root
        self._counters = counters
        self._hub = hub
        self._sampler = sampler
        self._unawaited = unawaited
        self._on_ended = on_ended
        self._made = 0
        # Leaving the block waits for these. Bounded by the engine, which lets calls wait.
        self.in_flight: dict[Push, None] = {}
        # The parents of the spans to come, by push; bounded by the calls and pushes in flight.
        self._parents: dict[Push, tracing.CallTrace] = {}
        self._traces: dict[Push, tracing.CallTrace] = {}

    def make_for(self, call: Call) -> Push | None:
        """Return the push of the artifact of a new call; None: it is not pushed."""
        policy = self._policy
        if policy is None:
            return None
        request = PushRequest(None, policy.remote, policy.verify)
        return self._make(request, call.request.name, call.request.path, call.number)

    def join_trace(self, call: Call, trace: tracing.CallTrace | None) -> None:
        """Let the span of the push of a call be a child of that of the call."""
        if call.push is not None and trace is not None:
            self._parents[call.push] = trace

    def on_call_ended(self, call: Call) -> None:
        """Wait for the push of a call that was logged, and forget that of any other."""
        push = call.push
        if push is None:
            return
        if call.stage != "logged":
            self._parents.pop(push, None)
        elif not push.is_done:
            self.in_flight[push] = None

    def make(self, request: PushRequest, name: str) -> Push:
        """Return a push of ``AsyncLive.push``, in flight."""
        push = self._make(request, name)
        self.in_flight[push] = None
        trace = tracing.begin("asynclive.push", {"name": name, "push": push.number})
        if trace is not None:
            self._traces[push] = trace
        return push

    def adopt(self, path: str, remote: str) -> Push:
        """Return a push, in flight, of a path that an earlier session did not push to a remote.

        It may be a session of this block, in a worker process that was killed.
        """
        policy = self._policy
        assert policy is not None
        request = PushRequest(None, remote, policy.verify)
        self._unawaited.forget_pushes(path)
        push = self._make(request, Path(path).name, path)
        self.in_flight[push] = None
        return push

    def _make(
        self, request: PushRequest, name: str, path: str | None = None, call: int | None = None
    ) -> Push:
        self._made += 1
        push = Push(request, self._made, name, path, call)
        push.add_listener(self._on_change)
        return push

    def _on_change(self, push: Push, before: PushStage) -> None:
        self._counters.change_push(before, push.stage, push.result_record)
        if push.stage == "pushing":
            self._sampler.begin(push.progress, partial(self._sample, push))
        else:
            self._sampler.end(push.progress)
        self._update_trace(push)
        if self._hub.has_consumers:
            self._hub.publish(_stage_event(push, self._head(push)))
        if push.stage in PUSH_ENDS:
            self._end(push)

    def _end(self, push: Push) -> None:
        if push in self.in_flight:  # else a call waits for it, and has its error
            del self.in_flight[push]
            self._unawaited.add_push(push)
            self._on_ended()

    def _update_trace(self, push: Push) -> None:
        parent = self._parents.pop(push, None)
        if push.stage == "pushing":
            if parent is not None:
                attributes = {"name": push.name, "path": push.path, "push": push.number}
                trace = tracing.begin("asynclive.push", attributes, parent)
                if trace is not None:
                    self._traces[push] = trace
            return
        trace = self._traces.pop(push, None)
        if trace is not None:
            result = push.result_record
            if result is not None:
                trace.set(
                    {"remote": result.remote, "objects": result.objects, "bytes": result.bytes}
                )
            trace.end(push.stage, push.error if push.stage == "failed" else None)

    def _sample(self, push: Push) -> None:
        self._hub.publish(_sample_event(push, self._head(push)))

    def _head(self, push: Push) -> _Head:
        path = self._root if push.path is None else push.path
        return time.time(), push.call or 0, push.name, Path(path), push.number


def _stage_event(push: Push, head: _Head) -> PushEvent:
    match push.stage:
        case "pushed":
            assert push.result_record is not None
            return Pushed(*head, push.result_record)
        case "failed" | "cancelled":
            assert push.error is not None
            return PushFailed(*head, push.error)
        case _:
            return PushStarted(*head)


def _sample_event(push: Push, head: _Head) -> PushEvent:
    counts = push.progress
    return PushProgress(
        *head, counts.objects_done, counts.bytes_done, counts.objects_total, counts.bytes_total
    )
