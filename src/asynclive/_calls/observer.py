"""Turns the stage changes of calls into events and spans."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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


@dataclass(slots=True)
class _Observed:
    """What the observer keeps of a call until it has ended."""

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

    def begin(self, call: Call) -> None:
        """Observe a call that the running task made: its spans join the trace of that task."""
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

    def committed(self, call: Call, md5: str | None) -> None:
        """Publish that DVC tracks the artifact, and that dvc.yaml names it."""
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
            _follow(trace, call)
        if self._hub.has_consumers:
            self._hub.publish(_EVENTS[call.stage](call, self._head(call)))
        if call.stage in ENDS:
            del self._observed[call]

    def _sample(self, call: Call) -> None:
        self._hub.publish(_staging(call, self._head(call)))

    def _head(self, call: Call) -> _Head:
        observed = self._observed[call]
        if observed.tracked_path is None:
            observed.tracked_path = Path(call.request.path)
        return time.time(), call.number, call.request.name, observed.tracked_path


def _follow(trace: tracing.CallTrace, call: Call) -> None:
    """Begin and end the spans of a call for its new stage."""
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
        # Not in ``committed``: a worker process reports commits only if there are consumers.
        if call.logged is not None:
            trace.set({"md5": call.logged.md5})
        trace.end(call.stage, call.error if call.stage == "failed" else None)


def _staging(call: Call, head: _Head) -> ArtifactEvent:
    progress = call.progress
    return ArtifactStaging(
        *head,
        progress.bytes_done,
        progress.files_done,
        progress.bytes_total,
        progress.files_total,
    )


def _staged(call: Call, head: _Head) -> ArtifactEvent:
    return ArtifactStaged(*head, call.progress.size, call.progress.nfiles)


def _logged(call: Call, head: _Head) -> ArtifactEvent:
    assert call.logged is not None
    return ArtifactLogged(*head, call.logged)


def _failed(call: Call, head: _Head) -> ArtifactEvent:
    assert call.error is not None
    return ArtifactFailed(*head, call.error)


def _plain(kind: Callable[..., ArtifactEvent]) -> Callable[[Call, _Head], ArtifactEvent]:
    return lambda _, head: kind(*head)


_EVENTS: dict[Any, Callable[[Call, _Head], ArtifactEvent]] = {
    "queued": _plain(ArtifactQueued),
    "staging": _staging,
    "staged": _staged,
    "committing": _plain(ArtifactCommitting),
    "logged": _logged,
    "failed": _failed,
    "cancelled": _plain(ArtifactCancelled),
    "superseded": _plain(ArtifactSuperseded),
}
