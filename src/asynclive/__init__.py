"""Log large artifacts with DVC from async Python.

``async with AsyncLive() as live: await live.log_artifact(path)`` tracks and records an artifact as
DVCLive's ``Live.log_artifact()`` does. Hundreds of artifacts can be logged at once, and none of
them blocks the event loop.

The way of one artifact through the code. Each step makes the record that is named with it:

1. Call: ``_api/async_live.py``.
2. Request: ``_artifact/request.py`` makes an ArtifactRequest.
3. Accept: ``_engine/session.py`` makes a Call. ``_calls/conflicts.py`` finds calls that must not
   run together. ``_calls/back_pressure.py`` limits how much is pending.
4. The whole way on one screen: ``_engine/pipeline.py``.
5. Plan: ``_stage/source.py`` and ``_workspace/source_scan.py`` make an ArtifactPlan.
6. Stage: ``_stage/stager.py``, ``_stage/stage_job.py``, ``_ingest/small_files.py``,
   ``_ingest/copy_and_hash.py`` and ``_cache/object_store.py`` make a StagedArtifact.
7. Commit: ``_engine/group_commit.py``, ``_dvc/tracking/committer.py`` and
   ``_workspace/apply_placement.py`` make a TrackedArtifact.
8. Record: ``_engine/record_group.py``, ``_dvcyaml/dvcyaml_file.py`` and
   ``_dvcyaml/merge_entries.py`` write the entry. The pipeline makes a LoggedArtifact.
9. Push, with ``push=``: ``_engine/pushing/artifact_pushes.py`` finds the objects, and
   ``_remote/pusher.py`` sends them and makes a PushResult.
10. Notify: ``_calls/observer.py`` makes events (``_instrumentation/events.py``), which
   ``_progress/display.py`` draws.
"""

from __future__ import annotations

from ._api.async_live import AsyncLive
from ._api.blocking_live import BlockingHandle, BlockingLive
from ._artifact.push_policy import PushPolicy
from ._artifact.push_records import PushResult
from ._artifact.records import LoggedArtifact
from ._calls.call import Stage
from ._calls.drain import DrainResult, NotLogged, NotPushed
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
    FailedObject,
    InvalidArtifactNameError,
    InvalidDataTypeError,
    InvalidDvcyamlError,
    InvalidMetadataError,
    LockTimeoutError,
    NotActiveError,
    PushError,
    RemoteAccessError,
    RemoteNotFoundError,
    RemoteVerifyError,
    RepositoryError,
    RepositoryNotFoundError,
    ResourceLimitError,
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
    Pushed,
    PushEvent,
    PushFailed,
    PushProgress,
    PushStarted,
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
    "FailedObject",
    "InvalidArtifactNameError",
    "InvalidDataTypeError",
    "InvalidDvcyamlError",
    "InvalidMetadataError",
    "LockTimeoutError",
    "LoggedArtifact",
    "NotActiveError",
    "NotLogged",
    "NotPushed",
    "PushError",
    "PushEvent",
    "PushFailed",
    "PushPolicy",
    "PushProgress",
    "PushResult",
    "PushStarted",
    "Pushed",
    "RemoteAccessError",
    "RemoteNotFoundError",
    "RemoteVerifyError",
    "RepositoryError",
    "RepositoryNotFoundError",
    "ResourceLimitError",
    "Stage",
    "StorageError",
    "WorkerDiedError",
]
