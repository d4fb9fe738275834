"""The engine in threads: opens the repository, runs calls through the pipeline, closes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.abc

from .._artifact.records import StagedArtifact, StoredFile, TrackedArtifact
from .._artifact.request import outside_repository
from .._cache.object_store import ObjectStore
from .._calls.back_pressure import BackPressure
from .._calls.call import Call
from .._calls.conflicts import Conflicts
from .._calls.push import Push
from .._dvc.repository.dvc_repository import DvcRepository
from .._dvclive.experiment import SessionExperiment
from .._dvcyaml.async_files import AsyncFiles
from .._dvcyaml.dvcyaml_file import DvcYaml
from .._errors import LockTimeoutError, NotActiveError, StorageError
from .._fs.free_space import free_bytes
from .._fs.paths import is_inside, relocated
from .._instrumentation.statistics import Counters
from .._stage.deferred_removal import DeferredRemoval
from .._stage.stager import Stager
from .._workers.file_workers import FileWorkers
from .._workers.os_priority import Scheduling
from .._workspace.path_aliases import place_below, place_request
from .._workspace.replace_in_place import replace_file
from .dvc_thread import DvcThread
from .group_commit import LONGEST_DELAY, GroupCommitter
from .interface import Listener
from .pipeline import Pipeline
from .pushing.artifact_pushes import ArtifactPushes
from .pushing.make_pusher import make_pusher
from .pushing.pending_pushes import PendingPushes
from .pushing.push_service import PushService
from .record_group import Outcomes, Recorder
from .settings import Settings


class LocalEngine:
    """Works on calls in threads of this process.

    Args:
        settings: the settings of the session.
        counters: count files, bytes and groups.
        listener: the callbacks of the session.
        experiment: entered and left together with the repository.
        scheduling: how the worker threads share processors with others.
    """

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        listener: Listener,
        experiment: SessionExperiment,
        scheduling: Scheduling | None = None,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._listener = listener
        self._experiment = experiment
        self._scheduling = scheduling
        self._conflicts: Conflicts[Call] = Conflicts()
        self._left_normally = False
        # None until ``serve`` has opened the repository.
        self._open_repository: _OpenRepository | None = None

    @property
    def real_root(self) -> str:
        return self._opened.real_root

    @property
    def busy_workers(self) -> int:
        return self._opened.workers.busy

    @property
    def _opened(self) -> _OpenRepository:
        assert self._open_repository is not None
        return self._open_repository

    def accept(self, call: Call) -> None:
        """Claim the paths and names of the call, and start to work on it. Awaits nothing.

        Raises:
            BackPressureError: as ``BackPressure.admit`` does.
            ArtifactConflictError: as ``Conflicts.claim`` does.
        """
        opened = self._opened
        opened.back_pressure.admit(call)
        if self._is_placed(call):
            try:
                self._claim(call)
            except BaseException:
                opened.back_pressure.release(call)
                raise
        scope = anyio.CancelScope()
        call.bind_work(scope.cancel)
        opened.tasks.start_soon(self._work_on, call, scope)

    def _is_placed(self, call: Call) -> bool:
        return is_inside(call.request.path, self._opened.repository.layout.root)

    def _claim(self, call: Call) -> None:
        call.order_after(self._conflicts.claim(call))
        if call.latest_wins:
            for other in self._conflicts.others_at_path(call):
                other.yield_to(call)

    async def _place(self, call: Call) -> None:
        """Find the name of the path in the repository, and claim it.

        Raises:
            ArtifactPathError: the path is outside of the repository.
            ArtifactConflictError: as ``accept`` does.
        """
        opened = self._opened
        root = opened.repository.layout.root
        place = partial(place_request, call.request, root)
        call.request = await opened.workers.run(place, bulk=False)
        if not self._is_placed(call):
            raise outside_repository(call.request, root)
        self._claim(call)

    def accept_push(self, push: Push) -> None:
        self._opened.pushes.accept(push)

    def start_events(self) -> None:
        """Do nothing: in this process, progress and commits are always reported."""

    def stop_accepting(self) -> None:
        self._opened.pipeline.await_all()

    def begin_leaving(self, *, hurry: bool) -> None:
        """Do nothing: a thread cannot be ended."""

    def leave_normally(self) -> None:
        self._left_normally = True

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Open the repository, work on calls until cancelled, and close the repository."""
        dvc_thread = DvcThread()
        # DVC knows a repository by the path that its command sees: the working directory, which
        # has no symlinks.
        real_root = await dvc_thread.run(partial(os.path.realpath, self._settings.root))
        repository = await self._open(real_root, dvc_thread)
        try:
            await dvc_thread.run(partial(self._experiment.enter, repository))
            await self._serve_opened(real_root, repository, dvc_thread, task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await dvc_thread.run(partial(self._close, repository))

    async def _open(self, real_root: str, dvc_thread: DvcThread) -> DvcRepository:
        """Open the repository. If DVC must be initialised, wait for the lock of Git's index."""
        lock_timeout, began = self._settings.lock_timeout, anyio.current_time()
        while True:
            try:
                return await dvc_thread.run(
                    partial(DvcRepository.open, real_root, durable=self._settings.durable)
                )
            except LockTimeoutError as error:
                if lock_timeout is not None and anyio.current_time() - began >= lock_timeout:
                    raise LockTimeoutError(lock_timeout, error.lock) from None
            await anyio.sleep(LONGEST_DELAY)  # there is no event to wait for

    async def _serve_opened(
        self,
        real_root: str,
        repository: DvcRepository,
        dvc_thread: DvcThread,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        """Make the parts of the pipeline, and own the tasks that work on calls."""
        settings = self._settings
        workers = FileWorkers(settings.total_workers, self._scheduling)
        tasks = anyio.create_task_group()

        dvcyaml = await self._open_dvcyaml(real_root, repository, dvc_thread)
        recorder = Recorder(repository, dvcyaml, dvc_thread.run)
        committer: GroupCommitter[StagedArtifact, TrackedArtifact] = GroupCommitter(
            acquire=partial(dvc_thread.run, repository.acquire),
            commit=partial(self._commit_group, recorder),
            release=partial(dvc_thread.run, repository.release),
            break_seconds=partial(dvc_thread.run, repository.break_seconds),
            lock_timeout=settings.lock_timeout,
            timeout_error=repository.timeout_error,
        )
        stager = Stager(
            ObjectStore(repository.layout),
            workers,
            self._counters,
            partial(_save_hashes, repository, dvc_thread),
            DeferredRemoval(workers, tasks.start_soon),
            repository.session.temp_dir_for,
        )
        push_service = PushService(
            partial(
                make_pusher,
                settings.push,
                repository.layout.hash_cache_dir,
                partial(repository.record_versions, settings.lock_timeout),
            )
        )
        pushes = ArtifactPushes(
            settings.push,
            repository,
            push_service,
            PendingPushes(repository.layout.root, repository.session.workspace_tmp),
            self._listener.adopt_push,
            tasks.start_soon,
        )
        back_pressure = BackPressure(
            settings.max_pending_bytes,
            settings.max_pending,
            partial(_free_cache_bytes, repository, workers),
        )
        pipeline = Pipeline(
            root=settings.root,
            repository=repository,
            dvc_thread=dvc_thread,
            # DVC sets this variable for the command of a stage.
            in_repro=bool(os.environ.get("DVC_ROOT")),
            back_pressure=back_pressure,
            conflicts=self._conflicts,
            workers=workers,
            stager=stager,
            committer=committer,
            pushes=pushes,
            listener=self._listener,
        )
        self._open_repository = _OpenRepository(
            real_root, repository, workers, back_pressure, pipeline, pushes, tasks
        )
        try:
            async with tasks:
                await pushes.enter()
                tasks.start_soon(committer.run)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await push_service.aclose()
            await workers.run_to_end(stager.close)

    async def _open_dvcyaml(
        self, real_root: str, repository: DvcRepository, dvc_thread: DvcThread
    ) -> DvcYaml | None:
        if self._settings.dvcyaml is None:
            return None
        sync = repository.layout.sync
        files = AsyncFiles(dvc_thread.limiter, sync, partial(replace_file, sync=sync))
        await files.import_aiofiles()
        root = repository.layout.root
        path = relocated(self._settings.dvcyaml, self._settings.root, real_root)
        return DvcYaml(
            await dvc_thread.run(partial(place_below, path, root)),
            files,
            repository.session.temp_for,
            root,
            self._experiment.co_writer,
        )

    async def _commit_group(self, recorder: Recorder, group: Sequence[StagedArtifact]) -> Outcomes:
        outcomes = await recorder.commit_group(group)
        self._counters.count_group(len(group))
        return outcomes

    def _close(self, repository: DvcRepository) -> None:
        try:
            self._experiment.leave(
                normally=self._left_normally, lock_timeout=self._settings.lock_timeout
            )
        finally:
            repository.close()

    async def _work_on(self, call: Call, scope: anyio.CancelScope) -> None:
        """Log the artifact of one call, and resume its waiters whatever happens."""
        try:
            with scope:
                if not self._is_placed(call):
                    await self._place(call)
                logged = await self._opened.pipeline.log(call)
                call.complete(logged)
                self._experiment.add_artifact(logged)
        except Exception as error:
            # raised to the caller alone; the other calls go on
            call.fail(await self._explained(call, error))
        finally:
            self._end(call)

    async def _explained(self, call: Call, error: Exception) -> Exception:
        """Return the error of a call, or a better one if the temp files of the session are gone."""
        opened = self._opened
        session = opened.repository.session
        with anyio.CancelScope(shield=True):
            if not await opened.workers.run(session.was_removed, bulk=False):
                return error
        lost = StorageError(call.request.given, session.removed_error())
        lost.__cause__ = error
        return lost

    def _end(self, call: Call) -> None:
        """Report the outcome, and give back the claims and the slot of the call."""
        call.advance(
            call.settle(
                NotActiveError(
                    f"'{call.request.given}' was not logged: the block was left by an exception."
                )
            )
        )
        self._conflicts.release(call)
        self._opened.back_pressure.release(call)
        self._listener.on_ended(call)
        call.finish()


@dataclass(frozen=True, slots=True)
class _OpenRepository:
    """The parts of an engine that exist once its repository is open."""

    real_root: str
    repository: DvcRepository
    workers: FileWorkers
    back_pressure: BackPressure
    pipeline: Pipeline
    pushes: ArtifactPushes
    tasks: anyio.abc.TaskGroup


async def _save_hashes(
    repository: DvcRepository, dvc_thread: DvcThread, path: str, files: Sequence[StoredFile]
) -> None:
    await dvc_thread.run(partial(repository.save_hashes, path, files))


async def _free_cache_bytes(repository: DvcRepository, workers: FileWorkers) -> int | None:
    return await workers.run(partial(free_bytes, repository.layout.cache_dir), bulk=False)
