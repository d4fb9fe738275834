"""Commit a group: track what can be tracked, then record it in dvc.yaml. Knows no DVC."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio

from .._artifact.metadata import templates_escaped
from .._artifact.records import StagedArtifact, TrackedArtifact
from .._cache.cache_layout import CacheLayout
from .._dvcyaml.dvcyaml_file import DvcYaml
from .._errors import AsyncLiveError, DvcYamlError

Outcomes = Sequence[TrackedArtifact | AsyncLiveError]


class Repository(Protocol):
    """What is asked of the repository. All of it blocks, in one thread at a time."""

    @property
    def layout(self) -> CacheLayout: ...

    def commit(self, group: Sequence[StagedArtifact]) -> Outcomes:
        """Track every artifact of the group that can be; the others' errors in their places."""
        ...


class Recorder:
    """Takes a group from staged to recorded.

    Args:
        repository: what tracks it.
        dvcyaml: where it is recorded; None: nowhere.
        in_dvc_thread: runs a function in the thread for DVC and returns what it returns.
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
        """Track and record; a result or an error for each, in order. The caller holds DVC's lock.

        The new dvc.yaml is complete in a temp file before anything is tracked, so that a
        broken or read-only one is found while nothing has happened. If it cannot take its place
        after all, what it names is taken back.

        Cancellation: the caller shields it. Native cancellation goes through a shield, as when
        ``asyncio.run`` ends the tasks that are left: the group is tracked and recorded all the
        same, or not at all, and then the cancellation is raised.
        """
        interrupted: list[BaseException] = []
        outcomes = await self._commit_group(group, interrupted)
        if interrupted:
            raise interrupted[0]
        return outcomes

    async def _commit_group(
        self, group: Sequence[StagedArtifact], interrupted: list[BaseException]
    ) -> Outcomes:
        async with self._lock:
            dvcyaml = self._dvcyaml
            if dvcyaml is None:
                return await self._track(group, interrupted)
            entries = await self._in_dvc_thread(lambda: _entries(group, dvcyaml))
            mode = 0o666 & ~self._repository.layout.umask
            try:
                update = await dvcyaml.prepare(entries, mode)
            except DvcYamlError as error:
                rest = iter(
                    await self._track([one for one in group if not _is_annotated(one)], interrupted)
                )
                return [_own(error) if _is_annotated(one) else next(rest) for one in group]
            try:
                outcomes = await self._track(group, interrupted)
            except BaseException:
                await dvcyaml.discard(update)
                raise
            tracked = [
                staged.request.name
                for staged, outcome in zip(group, outcomes, strict=True)
                if _is_annotated(staged) and isinstance(outcome, TrackedArtifact)
            ]
            try:
                try:
                    await dvcyaml.replace(update, tracked)
                except anyio.get_cancelled_exc_class() as error:
                    interrupted.append(error)
                    # Where its thread has replaced it, or is about to, the entries are the same.
                    await dvcyaml.replace(update, tracked)
            except DvcYamlError as error:
                # None of it was recorded, so none of it may stay.
                await self._take_back(group, outcomes)
                return [
                    _own(error)
                    if _is_annotated(staged) and isinstance(outcome, TrackedArtifact)
                    else outcome
                    for staged, outcome in zip(group, outcomes, strict=True)
                ]
            return outcomes

    async def _take_back(self, group: Sequence[StagedArtifact], outcomes: Outcomes) -> None:
        """What was to be recorded is as it was; last ones first, as they came."""
        for staged, outcome in zip(reversed(group), reversed(outcomes), strict=True):
            if _is_annotated(staged) and isinstance(outcome, TrackedArtifact):
                await self._in_dvc_thread(outcome.take_back)

    async def _track(
        self, group: Sequence[StagedArtifact], interrupted: list[BaseException]
    ) -> Outcomes:
        tracking = _Tracking(lambda: self._repository.commit(group))
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
    """The commit of a group in its thread, which may outlive the wait for it."""

    def __init__(self, commit: Callable[[], Outcomes]) -> None:
        self._commit = commit
        self._lock = threading.Lock()  # held while it commits
        self._withdrawn = False
        self._outcomes: Outcomes | None = None

    def run(self) -> Outcomes | None:
        with self._lock:
            if not self._withdrawn:
                self._outcomes = self._commit()
            return self._outcomes

    def settle(self) -> Outcomes | None:
        """Wait for what came of it; None: it has not begun, or failed, and does not begin."""
        with self._lock:
            self._withdrawn = True
            return self._outcomes


def _is_annotated(staged: StagedArtifact) -> bool:
    return staged.request.entry is not None


def _entries(group: Sequence[StagedArtifact], dvcyaml: DvcYaml) -> dict[str, dict[str, Any]]:
    return {
        staged.request.name: templates_escaped(
            {"path": dvcyaml.entry_path(staged.request.path), **staged.request.entry}
        )
        for staged in group
        if staged.request.entry is not None
    }


def _own(error: DvcYamlError) -> DvcYamlError:
    """The same error for one more caller: a raised exception collects its caller's traceback."""
    own = DvcYamlError(error.path, error.reason)
    own.__cause__ = error.__cause__
    return own
