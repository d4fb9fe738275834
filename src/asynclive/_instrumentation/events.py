"""The events of artifacts, as frozen records: ``on_event`` gets them, ``events()`` yields them.

They are picklable, because a worker process sends its events to the parent. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._artifact.push_records import PushResult
from .._artifact.records import LoggedArtifact


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all records that :meth:`AsyncLive.events` yields.

    Attributes:
        time: when the event happened, in seconds since the epoch, as in ``time.time()``.
    """

    time: float


@dataclass(frozen=True, slots=True)
class ArtifactEvent(Event):
    """The base of the events of one artifact.

    The events of one artifact follow each other in the order of the classes here: queued,
    staging, staged, committing, committed. The last event is one of logged, failed, superseded
    and cancelled. An artifact may skip stages: it may fail or be cancelled in any of them.

    Attributes:
        call: the number of the call in this ``AsyncLive``, from 1, in the order of the calls.
            Calls that log the same path twice have different numbers.
        name: the name, as in :class:`LoggedArtifact`.
        path: the tracked path, absolute. With ``copy``, the path of the copy.
        stage: the stage or the outcome of the artifact, the same for all events of a class.

    Example::

        def show(event: ArtifactEvent) -> None:
            print(event.stage, event.name)

        async with AsyncLive(on_event=show) as live:
            await live.log_artifact("model.pt")
    """

    call: int
    name: str
    path: Path

    stage: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class ArtifactQueued(ArtifactEvent):
    """The call was accepted. Its path is not scanned yet."""

    stage: ClassVar[str] = "queued"


@dataclass(frozen=True, slots=True)
class ArtifactStaging(ArtifactEvent):
    """The artifact is being hashed and copied. A sample, at most ten a second for each artifact.

    In the first sample, nothing is done yet. A file counts when it is done. The bytes of a large
    file count while it is hashed, those of small files for some dozens of files at a time.

    Attributes:
        bytes_done: bytes hashed so far; with ``cache=False``, bytes copied so far. If ``submit``
            copies a large file before it returns, the copy counts for one half of its bytes, and
            hashing the copy for the other half.
        files_done: files done so far.
        bytes_total: bytes of all files of the artifact.
        files_total: number of files of the artifact.
    """

    bytes_done: int
    files_done: int
    bytes_total: int
    files_total: int

    stage: ClassVar[str] = "staging"


@dataclass(frozen=True, slots=True)
class ArtifactStaged(ArtifactEvent):
    """All bytes are in the cache, but nothing refers to them. The artifact waits for a group.

    Attributes:
        size: bytes of all tracked files.
        nfiles: number of tracked files; 1 if the artifact is a file.
    """

    size: int
    nfiles: int

    stage: ClassVar[str] = "staged"


@dataclass(frozen=True, slots=True)
class ArtifactCommitting(ArtifactEvent):
    """The group of the artifact is being committed. The artifact can no longer be cancelled."""

    stage: ClassVar[str] = "committing"


@dataclass(frozen=True, slots=True)
class ArtifactCommitted(ArtifactEvent):
    """DVC tracks the artifact, and its entry is in dvc.yaml. Only temp files remain to be removed.

    Attributes:
        md5: the hash, as in the .dvc file; None with ``cache=False``.
    """

    md5: str | None

    stage: ClassVar[str] = "committed"


@dataclass(frozen=True, slots=True)
class ArtifactLogged(ArtifactEvent):
    """The artifact is logged, and the call returns.

    Attributes:
        artifact: the return value of the call.
    """

    artifact: LoggedArtifact

    stage: ClassVar[str] = "logged"


@dataclass(frozen=True, slots=True)
class ArtifactFailed(ArtifactEvent):
    """The call raises an error. Nothing of the artifact is recorded.

    Attributes:
        error: the error.
    """

    error: Exception

    stage: ClassVar[str] = "failed"


@dataclass(frozen=True, slots=True)
class ArtifactSuperseded(ArtifactEvent):
    """A newer call with ``latest_wins`` for the same path is logged instead of this call."""

    stage: ClassVar[str] = "superseded"


@dataclass(frozen=True, slots=True)
class ArtifactCancelled(ArtifactEvent):
    """The call was cancelled, and nothing was logged."""

    stage: ClassVar[str] = "cancelled"


@dataclass(frozen=True, slots=True)
class PushEvent(ArtifactEvent):
    """The base of the events of one push. They follow the last event of its artifact.

    With ``when="before_commit"`` they come before :class:`ArtifactCommitting`. The events of a push
    follow each other in the order of the classes here; the last one is pushed or failed.

    Attributes:
        call: the number of the call whose artifact is pushed; 0 for :meth:`AsyncLive.push`, and for
            an artifact that an earlier session did not push.
        name: the name of the artifact; for :meth:`AsyncLive.push`, its arguments, or ``""``.
        path: the tracked path, absolute; for :meth:`AsyncLive.push`, the root.
        push: the number of the push in this ``AsyncLive``, from 1.
    """

    push: int


@dataclass(frozen=True, slots=True)
class PushStarted(PushEvent):
    """The push begins: it looks for objects in the remote, and sends those that are missing."""

    stage: ClassVar[str] = "pushing"


@dataclass(frozen=True, slots=True)
class PushProgress(PushEvent):
    """A sample of a push, at most ten a second for each push.

    Attributes:
        objects_done: objects that are in the remote, and proven.
        bytes_done: their bytes, and those of large objects so far.
        objects_total: objects of the push; 0: they are not counted yet.
        bytes_total: their bytes.
    """

    objects_done: int
    bytes_done: int
    objects_total: int
    bytes_total: int

    stage: ClassVar[str] = "pushing"


@dataclass(frozen=True, slots=True)
class Pushed(PushEvent):
    """Every object is in the remote, and proven.

    Attributes:
        result: the return value of ``pushed()`` and ``push()``.
    """

    result: PushResult

    stage: ClassVar[str] = "pushed"


@dataclass(frozen=True, slots=True)
class PushFailed(PushEvent):
    """The push failed, or was cancelled. The artifact stays committed.

    Attributes:
        error: the error.
    """

    error: Exception

    stage: ClassVar[str] = "push_failed"


@dataclass(frozen=True, slots=True)
class EventsDropped(Event):
    """The consumer was too slow for its queue: events were dropped before the next event.

    Only :meth:`AsyncLive.events` yields this event, and only to the consumer that was too slow.

    Attributes:
        samples: the number of dropped :class:`ArtifactStaging` events. They are dropped first,
            starting with the oldest.
        events: the number of other dropped events. They are dropped only if no sample is queued.
    """

    samples: int
    events: int
