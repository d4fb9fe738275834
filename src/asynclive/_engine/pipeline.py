"""READ THIS FIRST: the whole way of one call through plan, stage, commit, record and push.

``Pipeline.log`` is that way. The other methods are its steps, in the same order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from .._artifact.plan import ArtifactPlan
from .._artifact.records import (
    LoggedArtifact,
    ObjectsMissingError,
    StagedArtifact,
    TrackedArtifact,
)
from .._artifact.request import ArtifactRequest
from .._calls.back_pressure import BackPressure
from .._calls.call import Call
from .._calls.conflicts import Conflicts
from .._errors import ArtifactChangedError, CommitError, StorageError
from .._stage.stage_job import is_bulk
from .._stage.stager import Release, Stager
from .._workers.file_workers import FileWorkers
from .._workspace.moved_source import MovedSource, decide_on_restored
from .._workspace.source_scan import IgnoreFilter
from .dvc_repro import leave_to_stage
from .dvc_thread import DvcThread
from .group_commit import GroupCommitter
from .interface import Listener
from .pushing.artifact_pushes import ArtifactPushes

# How often an artifact is committed whose objects `dvc gc` keeps removing.
MAX_COMMITS = 5
_GONE = (
    "'dvc gc' removed its objects from the cache before it was tracked, and its files have changed "
    "since. Nothing was recorded. Log it again."
)
_GONE_AGAIN = (
    "'dvc gc' removed its objects from the cache again and again. Nothing was recorded. Log it "
    "again when no 'dvc gc' runs."
)


class Repository(Protocol):
    """The repository, as the pipeline uses it."""

    def ignore_filter(self, path: str | None) -> IgnoreFilter:
        """Return DVC's filter of ignored names. Blocks; safe in any worker thread."""
        ...

    def pipeline_owner(self, path: str) -> tuple[str, bool] | None:
        """Return the stage that has ``path`` as its output. Blocks, in the thread for DVC."""
        ...


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A planned source, and how its caller resumes."""

    plan: ArtifactPlan
    release: Release | None
    """Awaited once all bytes are copied: the caller of ``submit`` resumes. None: the caller has
    resumed already, or waits until the artifact is logged."""


class Pipeline:
    """Takes calls through plan, stage, commit and record, any number side by side.

    It starts their pushes, which go on when a call has returned.

    Args:
        root: relative paths start here.
        repository: the opened repository.
        dvc_thread: the thread that calls DVC.
        in_repro: whether ``dvc repro`` runs this process.
        back_pressure: the bounds of the session.
        conflicts: the paths and names that calls in flight have claimed.
        workers: the worker threads.
        stager: stages artifacts.
        committer: commits staged artifacts in groups, and records them.
        pushes: push artifacts.
        listener: its ``on_committed`` is called for each artifact.
    """

    def __init__(
        self,
        *,
        root: str,
        repository: Repository,
        dvc_thread: DvcThread,
        in_repro: bool,
        back_pressure: BackPressure,
        conflicts: Conflicts[Call],
        workers: FileWorkers,
        stager: Stager,
        committer: GroupCommitter[StagedArtifact, TrackedArtifact],
        pushes: ArtifactPushes,
        listener: Listener,
    ) -> None:
        self._root = root
        self._repository = repository
        self._dvc_thread = dvc_thread
        self._in_repro = in_repro
        self._back_pressure = back_pressure
        self._conflicts = conflicts
        self._workers = workers
        self._stager = stager
        self._sources = stager.sources
        self._removal = stager.removal
        self._committer = committer
        self._pushes = pushes
        self._listener = listener
        self._await_all = False
        # By path: the fingerprint of the file that DVC left where a moved source was. A later
        # source that is moved to the same path may replace it.
        self._placed: dict[str, tuple[int, int]] = {}

    def await_all(self) -> None:
        """Treat every call as awaited: the block is being left."""
        self._await_all = True

    async def log(self, call: Call) -> LoggedArtifact:
        """Log the artifact of one call, and return its record.

        1. Plan: list the files of the source, in place or after a move to a temp path.
        2. Stage: copy and hash the files into the cache. No ``.dvc`` file names them yet.
        3. Commit: DVC tracks the artifact, with its group, under one hold of DVC's lock.
        4. Record: dvc.yaml names the artifact, before the group releases the lock.
        5. Push: that goes on when the call has returned. With ``when="before_commit"``, the push
           comes before 3., and the call waits for it.

        Raises:
            AsyncLiveError: the artifact is not logged. Nothing of it is left but objects in the
                cache, which ``dvc gc`` removes.

        Cancellation: before the group of the call begins to commit, the same holds. Afterwards the
            commit is finished first.
        """
        await self._back_pressure.wait_for_slot(call)
        if not call.submitted:
            # Its source is read in place, and an earlier call may change the source.
            await call.wait_for_earlier()
        call.mark_begun()
        with ExitStack() as while_small:
            # Steps of large artifacts yield to this one, until its plan says that it is large too.
            while_small.enter_context(self._workers.small_first.small_running())
            request = await self._without_outputs_of_repro(call.request)
            async with self._plan_source(call, request) as source:  # 1.
                if is_bulk(source.plan):
                    while_small.close()
                call.advance("staging")
                staged = await self._stage(call, source)  # 2.
                call.progress.set_staged(staged.size, staged.nfiles)
                call.advance("staged")
                del source  # the plan of a large directory is larger than the staged artifact
                tracked = await self._commit_and_record(call, staged)  # 3. and 4.
                await self._pushes.after_commit(call, tracked)  # 5.
                return LoggedArtifact.from_tracked(tracked)

    async def _without_outputs_of_repro(self, request: ArtifactRequest) -> ArtifactRequest:
        """Inside ``dvc repro``, leave an output of the stage to DVC."""
        if not (self._in_repro and request.cache):
            return request
        owner = await self._dvc_thread.run(partial(self._repository.pipeline_owner, request.path))
        return leave_to_stage(request, self._root, owner)

    @asynccontextmanager
    async def _plan_source(self, call: Call, request: ArtifactRequest) -> AsyncIterator[OpenSource]:
        """Plan the source in place, or move it to a temp path and plan it there.

        A moved source is renamed back if its artifact is not logged. If a later call supersedes
        this one, the source is removed: the later call logs newer bytes.
        """
        if not (call.options.move and request.is_read):
            release = partial(self._release, call) if call.submitted else None
            yield OpenSource(await self._plan_with_room(call, request), release)
            return
        await self._back_pressure.wait_for_bytes(call, None)
        moved = await self._sources.move_to_temp(request)
        try:
            await self._release(call)
            yield OpenSource(await self._plan_with_room(call, request, moved), None)
        except BaseException:
            if call.successor is None:
                await self._sources.restore(moved)
            else:
                await self._sources.forget(moved)
            raise
        await self._sources.forget(moved)

    async def _plan_with_room(
        self, call: Call, request: ArtifactRequest, moved: MovedSource | None = None
    ) -> ArtifactPlan:
        """Plan the source, and wait until its bytes may be pending."""
        plan = await self._plan(request, moved)
        await self._back_pressure.wait_for_bytes(call, plan.total_bytes if request.is_read else 0)
        call.progress.set_totals(plan.total_bytes, len(plan.files))
        return plan

    async def _plan(
        self, request: ArtifactRequest, moved: MovedSource | None = None
    ) -> ArtifactPlan:
        replaced = request.path if request.copy else None
        ignore_filter = partial(self._repository.ignore_filter, replaced)
        return await self._sources.plan(request, ignore_filter, moved)

    async def _release(self, call: Call) -> None:
        """Let the caller of ``submit`` overwrite the source."""
        call.release()
        if call.latest_wins:
            await call.wait_for_earlier()  # a newer call may supersede this one until then
            call.mark_begun()

    async def _stage(self, call: Call, source: OpenSource) -> StagedArtifact:
        """Copy and hash the source.

        Do so again in two cases. An earlier call replaced the source by a link. Or ``dvc gc``
        removed an object just before a file of the workspace was made from it.
        """
        stage = partial(
            self._stager.stage,
            progress=call.progress,
            is_awaited=partial(self._is_awaited, call),
        )
        comes_first = call.comes_first
        try:
            return await stage(source.plan, source.release, may_reuse_copy=comes_first)
        except ArtifactChangedError:
            if comes_first or source.release is None or call.is_released:
                raise
        except StorageError as error:
            is_given_back = source.release is not None and call.is_released
            if is_given_back or not self._stager.is_object_missing(error):
                raise
            call.progress.restart()
            return await stage(source.plan, source.release, may_reuse_copy=comes_first)
        return await self._restage_after_link(call, source, stage)

    async def _restage_after_link(
        self, call: Call, source: OpenSource, stage: Callable[..., Awaitable[StagedArtifact]]
    ) -> StagedArtifact:
        """Plan and stage again once the earlier calls have ended.

        One of them may have replaced the file by a link to the same bytes in the cache, while this
        call read it. It does so before it ends.
        """
        await call.wait_for_earlier()
        call.progress.restart()
        return await stage(await self._plan(source.plan.request), source.release)

    def _is_awaited(self, call: Call) -> bool:
        return self._await_all or not call.submitted or call.is_awaited

    async def _commit_and_record(self, call: Call, staged: StagedArtifact) -> TrackedArtifact:
        """Commit and record with the next group, once the earlier calls have ended.

        The committer calls ``record_group.Recorder`` for the group. A failed commit has undone its
        changes before the temp files of the artifact are removed here. A caller that gets an error
        may need the space at once; one that was cancelled need not wait until it is free.
        """
        try:
            await call.wait_for_earlier()
            bytes_of = staged
            restore = partial(self._restore_missing, staged)
            async with self._pushes.before_commit(call, staged, restore):
                if call.options.move:
                    is_last = not any(self._conflicts.others_at_path(call))
                    placed = self._placed.get(staged.request.path)
                    staged = decide_on_restored(staged, placed, wanted=is_last)
                tracked = await self._commit(call, staged, bytes_of)
            self._listener.on_committed(call, tracked.md5)
            await self._stager.remember(tracked)
        except Exception:
            await self._removal.discard(staged)
            raise
        except BaseException:  # cancelled
            await self._removal.discard_later(staged)
            raise
        await self._removal.discard_later(staged, tracked.undo)
        if call.options.move and not staged.isdir and staged.files:
            self._placed[staged.request.path] = staged.files[0].fingerprint
        self._conflicts.reserve_copy(call.request)
        return tracked

    async def _commit(
        self, call: Call, staged: StagedArtifact, bytes_of: StagedArtifact
    ) -> TrackedArtifact:
        """Commit with the next group; before that, store objects again that were removed.

        Staging holds no lock. So ``dvc gc`` may remove the objects until the commit, which looks
        for each of them under the lock. Nothing has changed if one is missing.

        Args:
            call: the call.
            staged: its artifact.
            bytes_of: the artifact with the temp paths of all its files.
        """
        on_begin: tuple[Callable[[], None], ...] = (partial(call.advance, "committing"),)
        for _ in range(MAX_COMMITS):
            try:
                return await self._committer.submit(staged, *on_begin)
            except ObjectsMissingError as error:
                on_begin = ()  # the stage is that already
                if not await self._stager.restore(bytes_of, error.hashes):
                    raise CommitError(staged.request.path, _GONE) from error
        raise CommitError(staged.request.path, _GONE_AGAIN)

    async def _restore_missing(self, staged: StagedArtifact) -> bool:
        """Store objects again that were removed; return whether there were any."""
        missing = await self._stager.find_missing(staged)
        if missing and not await self._stager.restore(staged, missing):
            raise CommitError(staged.request.path, _GONE)
        return bool(missing)
