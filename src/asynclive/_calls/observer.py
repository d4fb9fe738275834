"""Turns the stage changes of calls into events and spans."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .._instrumentation import tracing
from .._instrumentation.event_hub import EventHub
from .._instrumentation.events import (
    ArtifactCancelled,
    ArtifactCommitted,
    ArtifactCommitting,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactLogged,
    ArtifactQueued,
    ArtifactStaged,
    ArtifactStaging,
    ArtifactSuperseded,
)
from .._instrumentation.sampler import Sampler
from .call import ENDS, Call, Stage

_Head = tuple[float, int, str, Path]
"""The fields that all events begin with: time, number of the call, name, tracked path."""


@dataclass(slots=True)
class _Observed:
    """A call in flight, as the observer knows it."""

    trace: tracing.CallTrace | None
    tracked_path: Path | None = None
    """The path in events; made for the first event."""


class Observer:
    """Observes the calls of one session. Used on the event loop alone.

    Args:
        hub: gets the events.
        sampler: samples the progress of calls that are being staged.
    """

    def __init__(self, hub: EventHub, sampler: Sampler) -> None:
        self._hub = hub
        self._sampler = sampler
        self._observed: dict[Call, _Observed] = {}  # bounded by the calls in flight

    def begin(self, call: Call) -> tracing.CallTrace | None:
        """Observe a call that the running task made: its spans join the trace of that task.

        Returns:
            Its trace; None: spans are not recorded.
        """
        request = call.request
        trace = tracing.begin(
            "asynclive.submit" if call.submitted else "asynclive.log_artifact",
            {
                "call": call.number,
                "name": request.name,
                "path": request.path,
                "type": request.type,
                "copy": request.copy,
                "cache": request.cache,
            },
        )
        self._observed[call] = _Observed(trace)
        if trace is not None:
            trace.enter("queued")
        if self._hub.has_consumers:
            self._hub.publish(ArtifactQueued(*self._head(call)))
        return trace

    def on_committed(self, call: Call, md5: str | None) -> None:
        """Publish that the artifact is tracked and recorded."""
        if self._hub.has_consumers:
            self._hub.publish(ArtifactCommitted(*self._head(call), md5))

    def on_stage_change(self, call: Call, before: Stage) -> None:  # noqa: ARG002
        """Publish the new stage, and end or begin spans."""
        if call.stage == "staging":
            self._sampler.begin(call.progress, partial(self._sample, call))
        else:
            self._sampler.end(call.progress)
        trace = self._observed[call].trace
        if trace is not None:
            _update_trace(trace, call)
        if self._hub.has_consumers:
            self._hub.publish(_stage_event(call, self._head(call)))
        if call.stage in ENDS:
            del self._observed[call]

    def _sample(self, call: Call) -> None:
        self._hub.publish(_sample_event(call, self._head(call)))

    def _head(self, call: Call) -> _Head:
        observed = self._observed[call]
        if observed.tracked_path is None:
            observed.tracked_path = Path(call.request.path)
        return time.time(), call.number, call.request.name, observed.tracked_path


def _update_trace(trace: tracing.CallTrace, call: Call) -> None:
    """End the span of the stage before, and begin that of the new stage."""
    progress = call.progress
    if call.stage == "staging":
        trace.enter("staging")
        trace.set({"bytes": progress.bytes_total, "files": progress.files_total})
    elif call.stage == "staged":
        trace.set({"bytes": progress.size, "files": progress.nfiles})
        trace.enter("staged")
    elif call.stage == "committing":
        trace.enter("committing")
    else:
        # Not in ``on_committed``: a worker process reports commits only if there are consumers.
        if call.logged is not None:
            trace.set({"md5": call.logged.md5})
        trace.end(call.stage, call.error if call.stage == "failed" else None)


def _stage_event(call: Call, head: _Head) -> ArtifactEvent:
    """Return the event of the stage that a call has reached."""
    match call.stage:
        case "queued":
            return ArtifactQueued(*head)
        case "staging":
            return _sample_event(call, head)
        case "staged":
            return ArtifactStaged(*head, call.progress.size, call.progress.nfiles)
        case "committing":
            return ArtifactCommitting(*head)
        case "logged":
            assert call.logged is not None
            return ArtifactLogged(*head, call.logged)
        case "failed":
            assert call.error is not None
            return ArtifactFailed(*head, call.error)
        case "cancelled":
            return ArtifactCancelled(*head)
        case "superseded":
            return ArtifactSuperseded(*head)


def _sample_event(call: Call, head: _Head) -> ArtifactEvent:
    progress = call.progress
    return ArtifactStaging(
        *head,
        progress.bytes_done,
        progress.files_done,
        progress.bytes_total,
        progress.files_total,
    )
