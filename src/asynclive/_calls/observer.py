"""Tells of each change in the stage of a call: as an event, and as spans."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
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
from .call import Call

_Head = tuple[float, int, str, Path]


class Observer:
    """Follows the calls of one AsyncLive. On the event loop alone.

    Args:
        hub: where events go.
        sampler: tells how far the staging is.
    """

    def __init__(self, hub: EventHub, sampler: Sampler) -> None:
        self._hub = hub
        self._sampler = sampler
        self._numbers = itertools.count(1)

    def begin(self, call: Call) -> None:
        """A call was accepted, by the task that runs: the spans are in its trace."""
        call.number = next(self._numbers)
        request = call.request
        call.trace = tracing.begin(
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
        if call.trace is not None:
            call.trace.enter("queued")
        if self._hub.wanted:
            self._hub.publish(ArtifactQueued(*self._head(call)))

    def committed(self, call: Call, md5: str | None) -> None:
        """DVC tracks it, and dvc.yaml names it."""
        if self._hub.wanted:
            self._hub.publish(ArtifactCommitted(*self._head(call), md5))

    def moved(self, call: Call) -> None:
        """Its stage has changed."""
        if call.stage == "staging":
            self._sampler.begin(call.progress, partial(self._sample, call))
        else:
            self._sampler.end(call.progress)
        if call.trace is not None:
            self._trace(call)
        if self._hub.wanted:
            self._hub.publish(_EVENTS[call.stage](call, self._head(call)))

    def _sample(self, call: Call) -> None:
        self._hub.publish(_staging(call, self._head(call)))

    def _head(self, call: Call) -> _Head:
        if call.tracked_path is None:
            call.tracked_path = Path(call.request.path)
        return time.time(), call.number, call.request.name, call.tracked_path

    def _trace(self, call: Call) -> None:
        trace, progress = call.trace, call.progress
        assert trace is not None
        if call.stage == "staging":
            trace.enter("staging")
            trace.set({"bytes": progress.bytes_total, "files": progress.files_total})
        elif call.stage == "staged":
            trace.set({"bytes": progress.size, "files": progress.nfiles})
            trace.enter("staged")
        elif call.stage == "committing":
            trace.enter("committing")
        else:
            # Not in ``committed``: a worker process tells of that only where somebody listens.
            if call.logged is not None:
                trace.set({"md5": call.logged.md5})
            trace.end(call.stage, call.error if call.stage == "failed" else None)
            call.trace = None


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
