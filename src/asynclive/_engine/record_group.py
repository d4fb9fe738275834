"""Tracks a group of staged artifacts, then records it in dvc.yaml. Knows no DVC."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import anyio

from .._artifact.metadata import escape_templates
from .._artifact.records import StagedArtifact, TrackedArtifact
from .._cache.cache_layout import CacheLayout
from .._dvcyaml.dvcyaml_file import DvcYaml, Update
from .._errors import AsyncLiveError, DvcYamlError

Outcomes = Sequence[TrackedArtifact | AsyncLiveError]


class Repository(Protocol):
    """The repository, as the recorder uses it. It blocks, in one thread at a time."""

    @property
    def layout(self) -> CacheLayout: ...

    def commit(self, group: Sequence[StagedArtifact]) -> Outcomes:
        """Track the artifacts of the group; return an error in the place of each that fails."""
        ...

    def take_back(self, tracked: TrackedArtifact) -> None:
        """Undo the commit of an artifact, under the same hold of DVC's lock."""
        ...


class Recorder:
    """Takes a group from staged to recorded.

    Args:
        repository: tracks artifacts.
        dvcyaml: records artifacts; None: they are not recorded.
        in_dvc_thread: runs a function in the thread for DVC, and returns its result.
    """

    def __init__(
        self,
        repository: Repository,
        dvcyaml: DvcYaml | None,
        in_dvc_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._repository = repository
        self._dvcyaml = dvcyaml
        self._in_dvc_thread = in_dvc_thread
        # Protects dvc.yaml between reading and replacing it.
        self._lock = anyio.Lock()

    async def commit_group(self, group: Sequence[StagedArtifact]) -> Outcomes:
        """Track and record a group; return a result or an error for each artifact, in order.

        The caller holds DVC's lock. The new dvc.yaml is complete in a temp file before any
        artifact is tracked, so that a broken or read-only dvc.yaml is found while nothing has
        changed. If the new file cannot replace the old one after all, the tracking of the
        artifacts that it names is undone.

        Cancellation: the caller shields this. A native cancellation pierces the shield, as when
        ``asyncio.run`` cancels the remaining tasks. The group is then tracked and recorded
        completely, or not at all, before the cancellation is raised.
        """
        interrupted: list[BaseException] = []
        outcomes = await self._commit_group(group, interrupted)
        if interrupted:
            raise interrupted[0]
        return outcomes

    async def _commit_group(
        self, group: Sequence[StagedArtifact], interrupted: list[BaseException]
    ) -> Outcomes:
        """Do so; add a native cancellation to ``interrupted`` instead of raising it halfway."""
        async with self._lock:
            dvcyaml = self._dvcyaml
            if dvcyaml is None:
                return await self._track(group, interrupted)
            entries = await self._in_dvc_thread(partial(_entries, group, dvcyaml))
            mode = 0o666 & ~self._repository.layout.umask
            try:
                update = await dvcyaml.prepare(entries, mode)
            except DvcYamlError as error:
                return await self._track_unannotated(group, error, interrupted)
            try:
                outcomes = await self._track(group, interrupted)
            except BaseException:
                await dvcyaml.discard(update)
                raise
            try:
                await self._replace(dvcyaml, update, _names_to_record(group, outcomes), interrupted)
            except DvcYamlError as error:
                # No artifact was recorded, so no annotated one may stay tracked.
                await self._take_back(group, outcomes)
                return [
                    _own(error)
                    if _is_annotated(staged) and isinstance(outcome, TrackedArtifact)
                    else outcome
                    for staged, outcome in zip(group, outcomes, strict=True)
                ]
            return outcomes

    async def _track_unannotated(
        self, group: Sequence[StagedArtifact], error: DvcYamlError, interrupted: list[BaseException]
    ) -> Outcomes:
        """Track the artifacts that need no entry; return ``error`` for each of the others."""
        unannotated = [staged for staged in group if not _is_annotated(staged)]
        outcomes = iter(await self._track(unannotated, interrupted))
        return [_own(error) if _is_annotated(staged) else next(outcomes) for staged in group]

    async def _replace(
        self,
        dvcyaml: DvcYaml,
        update: Update,
        names: Sequence[str],
        interrupted: list[BaseException],
    ) -> None:
        """Replace dvc.yaml; finish that if a native cancellation interrupts it."""
        try:
            await dvcyaml.replace(update, names)
        except anyio.get_cancelled_exc_class() as error:
            interrupted.append(error)
            # The cancelled thread may still replace the file. Writing again is safe: the entries
            # are the same.
            await dvcyaml.replace(update, names)

    async def _take_back(self, group: Sequence[StagedArtifact], outcomes: Outcomes) -> None:
        """Undo the tracking of the annotated artifacts, in reverse order."""
        for staged, outcome in zip(reversed(group), reversed(outcomes), strict=True):
            if _is_annotated(staged) and isinstance(outcome, TrackedArtifact):
                await self._in_dvc_thread(partial(self._repository.take_back, outcome))

    async def _track(
        self, group: Sequence[StagedArtifact], interrupted: list[BaseException]
    ) -> Outcomes:
        """Track a group; if a native cancellation interrupts the wait, wait for the thread."""
        tracking = _Tracking(partial(self._repository.commit, group))
        outcomes: Outcomes | None
        try:
            outcomes = await self._in_dvc_thread(tracking.run)
        except anyio.get_cancelled_exc_class() as error:
            outcomes = await self._in_dvc_thread(tracking.settle)
            if outcomes is None:
                raise
            interrupted.append(error)
        assert outcomes is not None
        return outcomes


class _Tracking:
    """The commit of a group in its thread. The thread may outlive a cancelled wait."""

    def __init__(self, commit: Callable[[], Outcomes]) -> None:
        self._commit = commit
        self._lock = threading.Lock()  # held while the thread commits
        self._withdrawn = False
        self._outcomes: Outcomes | None = None

    def run(self) -> Outcomes | None:
        with self._lock:
            if not self._withdrawn:
                self._outcomes = self._commit()
            return self._outcomes

    def settle(self) -> Outcomes | None:
        """Wait for the outcome, or prevent the commit; None: it failed, or never begins."""
        with self._lock:
            self._withdrawn = True
            return self._outcomes


def _is_annotated(staged: StagedArtifact) -> bool:
    return staged.request.entry is not None


def _names_to_record(group: Sequence[StagedArtifact], outcomes: Outcomes) -> list[str]:
    return [
        staged.request.name
        for staged, outcome in zip(group, outcomes, strict=True)
        if _is_annotated(staged) and isinstance(outcome, TrackedArtifact)
    ]


def _entries(group: Sequence[StagedArtifact], dvcyaml: DvcYaml) -> dict[str, dict[str, Any]]:
    return {
        staged.request.name: escape_templates(
            {"path": dvcyaml.entry_path(staged.request.path), **staged.request.entry}
        )
        for staged in group
        if staged.request.entry is not None
    }


def _own(error: DvcYamlError) -> DvcYamlError:
    """Return the same error for one more caller: a raised error collects its traceback."""
    own = DvcYamlError(error.path, error.reason)
    own.__cause__ = error.__cause__
    return own
