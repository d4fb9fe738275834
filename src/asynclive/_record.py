"""Commit a group: track what can be tracked, then record it in dvc.yaml. Knows no DVC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio

from ._artifact import StagedArtifact, TrackedArtifact
from ._dvcyaml import DvcYaml
from ._errors import AsyncLiveError, DvcYamlError
from ._metadata import templates_escaped
from ._store import CacheLayout

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
        """
        async with self._lock:
            dvcyaml = self._dvcyaml
            if dvcyaml is None:
                return await self._track(group)
            entries = await self._in_dvc_thread(lambda: _entries(group, dvcyaml))
            mode = 0o666 & ~self._repository.layout.umask
            try:
                update = await dvcyaml.prepare(entries, mode)
            except DvcYamlError as error:
                rest = iter(await self._track([one for one in group if not _is_annotated(one)]))
                return [_own(error) if _is_annotated(one) else next(rest) for one in group]
            try:
                outcomes = await self._track(group)
            except BaseException:
                await dvcyaml.discard(update)
                raise
            tracked = [
                staged.request.name
                for staged, outcome in zip(group, outcomes, strict=True)
                if _is_annotated(staged) and isinstance(outcome, TrackedArtifact)
            ]
            try:
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

    async def _track(self, group: Sequence[StagedArtifact]) -> Outcomes:
        outcomes: Outcomes = await self._in_dvc_thread(lambda: self._repository.commit(group))
        return outcomes


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
