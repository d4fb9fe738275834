"""The engine in threads: takes each artifact through plan, stage, commit, record."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread

from .._artifact.plan import ArtifactPlan
from .._artifact.records import LoggedArtifact, StagedArtifact, StoredFile
from .._artifact.request import ArtifactRequest, outside_repository
from .._cache.object_store import ObjectStore
from .._calls.back_pressure import BackPressure
from .._calls.call import Call
from .._calls.conflicts import Conflicts
from .._dvc.repository.dvc_repository import DvcRepository
from .._dvclive.experiment import SessionExperiment
from .._dvcyaml.async_files import AsyncFiles
from .._dvcyaml.dvcyaml_file import DvcYaml
from .._errors import ArtifactChangedError, NotActiveError
from .._fs.free_space import free_bytes
from .._fs.paths import is_inside, relocated
from .._instrumentation.statistics import Counters
from .._stage.deferred_removal import DeferredRemoval
from .._stage.stage_job import is_bulk
from .._stage.stager import Stager, Taken
from .._workers.file_workers import FileWorkers
from .._workspace.moved_source import MovedSource, restored
from .dvc_repro import left_to_pipeline
from .group_commit import GroupCommitter
from .interface import Listener
from .record_group import Outcomes, Recorder

T = TypeVar("T")


class LocalEngine:
    """Works on calls in threads of this process: opens the repository, and does all there is."""

    real_root: str

    def __init__(
        self,
        settings: dict[str, Any],
        counters: Counters,
        listener: Listener,
        experiment: SessionExperiment,
    ) -> None:
        self._root: str = settings["root"]
        self._dvcyaml_path: str | None = settings["dvcyaml"]
        self._worker_count: int = settings["workers"]
        self._lock_timeout: float | None = settings["lock_timeout"]
        self._durable: bool = settings["durable"]
        self._claims: Conflicts[Call] = Conflicts()
        self._pending = BackPressure(
            settings["max_pending_bytes"], settings["max_pending"], self._free_bytes
        )
        # What was moved, logged and put where it was: it gives way to a later one.
        self._left: dict[str, tuple[int, int]] = {}
        self._counters = counters
        self._listener = listener
        self._experiment = experiment
        self.left_normally = False
        self._all_awaited = False

    def accept(self, call: Call) -> None:
        """Claim what the call needs, and begin to work on it. Nothing is awaited."""
        repository_root = self._repository.layout.root
        if not is_inside(call.request.path, repository_root):
            raise outside_repository(call.request, repository_root)
        self._pending.enter(call)
        try:
            call.earlier = self._claims.take(call)
        except BaseException:
            self._pending.leave(call)
            raise
        if call.latest_wins:
            for other in self._claims.same(call):
                other.supersede(call)
        self._tasks.start_soon(self._work_on, call)

    def watch(self) -> None:
        """Somebody listens to events from now on: nothing is to be done for that here."""

    def stop_taking(self) -> None:
        """No call comes any more: from now on all that are in flight are waited for."""
        self._all_awaited = True

    @property
    def busy_workers(self) -> int:
        """How many threads are at work."""
        return self._workers.busy

    async def _log(self, call: Call) -> LoggedArtifact:
        """The way through."""
        await self._pending.place(call)
        if not call.submitted:
            await call.turn()  # its source is read where it is, and an earlier one may change that
        call.begin()
        with ExitStack() as small:
            small.enter_context(self._workers.courtesy.asked())
            request = call.request
            if self._in_pipeline and request.cache:
                owner = partial(self._repository.pipeline_owner, request.path)
                request = left_to_pipeline(request, self._root, await self._in_dvc_thread(owner))
            async with self._source(call, request) as (plan, taken):
                if is_bulk(plan):
                    small.close()
                call.advance("staging")
                staged = await self._stage(call, plan, taken)
                call.progress.size, call.progress.nfiles = staged.size, staged.nfiles
                call.advance("staged")
                del plan  # of a large directory it is larger than what is needed from here on
                return await self._commit(call, staged)

    async def _admit(
        self, call: Call, request: ArtifactRequest, moved: MovedSource | None = None
    ) -> ArtifactPlan:
        """See what there is, and have room for it."""
        plan = await self._plan(request, moved)
        await self._pending.room(call, plan.total_bytes if request.is_read else 0)
        call.progress.bytes_total, call.progress.files_total = plan.total_bytes, len(plan.files)
        return plan

    async def _plan(
        self, request: ArtifactRequest, moved: MovedSource | None = None
    ) -> ArtifactPlan:
        replaced = request.path if request.copy else None
        return await self._stager.sources.plan(
            request, lambda: self._repository.ignore_filter(replaced), moved
        )

    async def _stage(self, call: Call, plan: ArtifactPlan, taken: Taken | None) -> StagedArtifact:
        first = call.comes_first
        try:
            return await self._stager.stage(
                plan,
                taken,
                looks_at_copy=first,
                progress=call.progress,
                is_awaited=lambda: self._is_awaited(call),
            )
        except ArtifactChangedError:
            if first or taken is None or call.released.is_set():
                raise
        # An earlier one has put a link to the same bytes in its place.
        await call.turn()
        call.progress.restart()
        plan = await self._plan(plan.request)
        return await self._stager.stage(
            plan, taken, progress=call.progress, is_awaited=lambda: self._is_awaited(call)
        )

    def _is_awaited(self, call: Call) -> bool:
        return self._all_awaited or not call.submitted or call.awaited

    async def _commit(self, call: Call, staged: StagedArtifact) -> LoggedArtifact:
        try:
            await call.turn()
            if call.move:
                is_last = not any(self._claims.same(call))
                staged = restored(staged, self._left.get(staged.request.path), wanted=is_last)
            tracked = await self._committer.submit(staged, lambda: call.advance("committing"))
            self._listener.committed(call, tracked.md5)
            await self._stager.remember(tracked)
        except Exception:
            await self._stager.discard(staged)
            raise
        except BaseException:  # cancelled
            await self._stager.discard_soon(staged)
            raise
        await self._stager.discard_soon(staged)
        if call.move and not staged.isdir and staged.files:
            self._left[staged.request.path] = staged.files[0].marks
        self._claims.remember(call.request)
        return LoggedArtifact.from_tracked(tracked)

    @asynccontextmanager
    async def _source(
        self, call: Call, request: ArtifactRequest
    ) -> AsyncIterator[tuple[ArtifactPlan, Taken | None]]:
        """What is to be read, and what is waited for once it is taken."""
        if not (call.move and request.is_read):
            release = partial(self._release, call) if call.submitted else None
            yield await self._admit(call, request), release
            return
        await self._pending.room(call, None)
        moved = await self._stager.sources.move_to_temp(request)
        try:
            await self._release(call)
            yield await self._admit(call, request, moved), None
        except BaseException:
            if call.successor is None:
                await self._stager.sources.restore(moved)
            else:
                await self._stager.sources.forget(moved)
            raise
        await self._stager.sources.forget(moved)

    async def _release(self, call: Call) -> None:
        """All bytes are taken: whoever submitted it may go on."""
        call.released.set()
        if call.latest_wins:
            await call.turn()  # a newer one may take its place meanwhile
            call.begin()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Open the repository, run what happens in it, close it."""
        self._workers = FileWorkers(self._worker_count)
        # DVC's classes know no threads: one is in them at a time.
        self._dvc_limiter = anyio.CapacityLimiter(1)
        # DVC knows a repository by its path: by the one that its command sees, which is in the
        # working directory and so has no links.
        self.real_root = await self._in_dvc_thread(lambda: os.path.realpath(self._root))
        self._repository = await self._in_dvc_thread(
            lambda: DvcRepository.open(self.real_root, durable=self._durable)
        )
        try:
            await self._in_dvc_thread(lambda: self._experiment.enter(self._repository))
            # As DVC tells a stage's command that it runs in a pipeline.
            self._in_pipeline = bool(os.environ.get("DVC_ROOT"))
            self._dvcyaml = None
            if self._dvcyaml_path is not None:
                dvcyaml_path = relocated(self._dvcyaml_path, self._root, self.real_root)
                files = AsyncFiles(self._dvc_limiter, self._repository.layout.sync)
                await files.prepare()
                self._dvcyaml = DvcYaml(
                    dvcyaml_path,
                    files,
                    self._repository.session.temp_for,
                    self._repository.layout.root,
                    self._experiment.beside,
                )
            store = ObjectStore(self._repository.layout)
            trash = DeferredRemoval(self._workers, lambda free: self._tasks.start_soon(free))
            self._stager = Stager(store, self._workers, self._counters, self._save_hashes, trash)
            self._recorder = Recorder(self._repository, self._dvcyaml, self._in_dvc_thread)
            self._committer = GroupCommitter(
                acquire=lambda: self._in_dvc_thread(self._repository.acquire),
                commit=self._commit_group,
                release=lambda: self._in_dvc_thread(self._repository.release),
                break_seconds=lambda: self._in_dvc_thread(self._repository.break_seconds),
                lock_timeout=self._lock_timeout,
            )
            try:
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._committer.run)
                    task_status.started()
            finally:
                await self._workers.run_to_end(self._stager.close)
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_dvc_thread(self._close)

    def _close(self) -> None:
        try:
            self._experiment.leave(normally=self.left_normally)
        finally:
            self._repository.close()

    async def _commit_group(self, group: Sequence[StagedArtifact]) -> Outcomes:
        outcomes = await self._recorder.commit_group(group)
        self._counters.count_group(len(group))
        return outcomes

    async def _work_on(self, call: Call) -> None:
        try:
            with call.scope:
                call.logged = await self._log(call)
                self._experiment.logged(call.logged)
        except Exception as error:
            call.error = error  # the caller's own, raised there
        finally:
            self._end(call)

    def _end(self, call: Call) -> None:
        """Say how it ended, and give back what it had."""
        if call.logged is not None:
            call.successor = None
            call.advance("logged")
        elif call.error is not None:
            call.successor = None
            call.advance("failed")
        elif call.successor is not None:
            call.advance("superseded")
        else:
            call.error = call.why_cancelled or NotActiveError(
                f"'{call.request.given}' was not logged: the block was left by an exception."
            )
            call.advance("cancelled")
        self._claims.release(call)
        self._pending.leave(call)
        self._listener.ended(call)
        call.end()

    async def _save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        await self._in_dvc_thread(lambda: self._repository.save_hashes(path, files))

    async def _free_bytes(self) -> int | None:
        cache_dir = self._repository.layout.cache_dir
        return await self._workers.run(partial(free_bytes, cache_dir), bulk=False)

    async def _in_dvc_thread(self, func: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(func, limiter=self._dvc_limiter)
