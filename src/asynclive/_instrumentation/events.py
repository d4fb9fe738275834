"""What happens to the artifacts, as frozen records: what ``on_event`` and ``events()`` give.

They are picklable, so that those of a worker process can be told here. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._artifact.records import LoggedArtifact


@dataclass(frozen=True, slots=True)
class Event:
    """Anything that :meth:`AsyncLive.events` yields.

    Attributes:
        time: when it happened, in seconds since the epoch, as ``time.time()`` has it.
    """

    time: float


@dataclass(frozen=True, slots=True)
class ArtifactEvent(Event):
    """Something happened to one artifact.

    Those of one artifact come in the order of the classes here, and the last is one of logged,
    failed, superseded, cancelled. What is not needed is left out: an artifact may fail, or be
    cancelled, from any of the others.

    Attributes:
        call: number of the call in this ``AsyncLive``, from 1 on, in the order of the calls: tells
            apart what is logged twice.
        name: as in :class:`LoggedArtifact`.
        path: the tracked path, absolute; with ``copy`` that of the copy.
        stage: of the class: where the artifact is, or what became of it.

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
    """The call was accepted. What its path holds is not known yet."""

    stage: ClassVar[str] = "queued"


@dataclass(frozen=True, slots=True)
class ArtifactStaging(ArtifactEvent):
    """Its bytes are being hashed and copied: a sample, at most ten a second an artifact.

    The first says that it begins, and has nothing done. Files count when they are done, bytes of
    a large file while it is hashed; those of small ones some dozens of files at a time.

    Attributes:
        bytes_done: hashed (not cached: copied) until now. Of a large file that ``submit`` copies
            before its caller goes on, half counts while it is copied, half while it is hashed.
        files_done: files that are done.
        bytes_total: bytes of all of its files.
        files_total: how many files it has.
    """

    bytes_done: int
    files_done: int
    bytes_total: int
    files_total: int

    stage: ClassVar[str] = "staging"


@dataclass(frozen=True, slots=True)
class ArtifactStaged(ArtifactEvent):
    """All bytes are in the cache; nothing refers to them yet. It waits for the next group.

    Attributes:
        size: bytes of all tracked files together.
        nfiles: number of files; 1 for a file.
    """

    size: int
    nfiles: int

    stage: ClassVar[str] = "staged"


@dataclass(frozen=True, slots=True)
class ArtifactCommitting(ArtifactEvent):
    """Its group is being committed: from here on it is not cancelled any more."""

    stage: ClassVar[str] = "committing"


@dataclass(frozen=True, slots=True)
class ArtifactCommitted(ArtifactEvent):
    """DVC tracks it, and dvc.yaml names it. What is left is to clear up.

    Attributes:
        md5: as in the .dvc file; None when it was not cached.
    """

    md5: str | None

    stage: ClassVar[str] = "committed"


@dataclass(frozen=True, slots=True)
class ArtifactLogged(ArtifactEvent):
    """The call has what it returns.

    Attributes:
        artifact: what it returns.
    """

    artifact: LoggedArtifact

    stage: ClassVar[str] = "logged"


@dataclass(frozen=True, slots=True)
class ArtifactFailed(ArtifactEvent):
    """The call raises.

    Attributes:
        error: what it raises.
    """

    error: Exception

    stage: ClassVar[str] = "failed"


@dataclass(frozen=True, slots=True)
class ArtifactSuperseded(ArtifactEvent):
    """A newer call for the same path, with ``latest_wins``, is logged in its place."""

    stage: ClassVar[str] = "superseded"


@dataclass(frozen=True, slots=True)
class ArtifactCancelled(ArtifactEvent):
    """The call was cancelled, and nothing is left of it."""

    stage: ClassVar[str] = "cancelled"


@dataclass(frozen=True, slots=True)
class EventsDropped(Event):
    """Comes before the next event where a consumer was too slow for its queue.

    Only :meth:`AsyncLive.events` yields it, and only to that consumer.

    Attributes:
        samples: :class:`ArtifactStaging` events that it did not get: older ones first.
        events: others that it did not get, which is only so when no samples were left to drop.
    """

    samples: int
    events: int
