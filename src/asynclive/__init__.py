"""Log large artifacts with DVC from async Python.

``async with AsyncLive() as live: await live.log_artifact(path)`` does what DVCLive's
``Live.log_artifact()`` does, for hundreds of artifacts at once, while the event loop runs on.
"""

from __future__ import annotations

from ._api.async_live import AsyncLive
from ._api.blocking_live import BlockingHandle, BlockingLive
from ._artifact.records import LoggedArtifact
from ._calls.call import Stage
from ._calls.drain import DrainResult, NotLogged
from ._calls.handle import ArtifactHandle
from ._errors import (
    ArtifactCancelledError,
    ArtifactChangedError,
    ArtifactConflictError,
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLiveError,
    BackPressureError,
    CommitError,
    DvcYamlError,
    ExperimentError,
    InvalidArtifactNameError,
    InvalidDataTypeError,
    InvalidDvcyamlError,
    InvalidMetadataError,
    LockTimeoutError,
    NotActiveError,
    RepositoryError,
    RepositoryNotFoundError,
    StorageError,
    WorkerDiedError,
)
from ._instrumentation.event_hub import EventStream
from ._instrumentation.events import (
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
    Event,
    EventsDropped,
)
from ._instrumentation.statistics import AsyncLiveStatistics

__all__ = [
    "ArtifactCancelled",
    "ArtifactCancelledError",
    "ArtifactChangedError",
    "ArtifactCommitted",
    "ArtifactCommitting",
    "ArtifactConflictError",
    "ArtifactEvent",
    "ArtifactFailed",
    "ArtifactHandle",
    "ArtifactLogged",
    "ArtifactNotFoundError",
    "ArtifactPathError",
    "ArtifactQueued",
    "ArtifactStaged",
    "ArtifactStaging",
    "ArtifactSuperseded",
    "AsyncLive",
    "AsyncLiveError",
    "AsyncLiveStatistics",
    "BackPressureError",
    "BlockingHandle",
    "BlockingLive",
    "CommitError",
    "DrainResult",
    "DvcYamlError",
    "Event",
    "EventStream",
    "EventsDropped",
    "ExperimentError",
    "InvalidArtifactNameError",
    "InvalidDataTypeError",
    "InvalidDvcyamlError",
    "InvalidMetadataError",
    "LockTimeoutError",
    "LoggedArtifact",
    "NotActiveError",
    "NotLogged",
    "RepositoryError",
    "RepositoryNotFoundError",
    "Stage",
    "StorageError",
    "WorkerDiedError",
]
