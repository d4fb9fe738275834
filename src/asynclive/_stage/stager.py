"""Stages artifacts: copies and hashes every file in one pass, in a bounded number of threads.

The bytes go into the DVC cache under their MD5. What the workspace gets is built completely at a
temp path. Nothing refers to either yet: a stage that is cancelled or fails leaves only objects
that ``dvc gc`` removes. Files that are unchanged since they were logged are not read again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from .._artifact.plan import ArtifactPlan
from .._artifact.records import StagedArtifact, StoredFile, TrackedArtifact
from .._cache.find_unchanged import find_unchanged
from .._cache.hash_cache import MIN_CACHED_BYTES, HashCache
from .._cache.hash_cache_file import publish_hashes
from .._cache.object_store import ObjectStore
from .._fs.free_space import DiskSpace
from .._fs.paths import is_inside
from .._ingest.batch_processes import BatchProcesses
from .._ingest.workspace_files import Batch
from .._instrumentation.staging_progress import StagingProgress
from .._instrumentation.statistics import Counters
from .._workers.bounded_gather import run_together
from .._workers.fairness import checkpoint_in_thread
from .._workers.file_workers import FileWorkers
from .deferred_removal import QUICK_BYTES, DeferredRemoval
from .fsync_staged import sync_rounds
from .restore_objects import restoring_steps
from .source import Sources
from .stage_job import SMALL_BYTES, StageJob
from .step_runner import StepRunner

Release = Callable[[], Awaitable[None]]
"""Gives the source back to the caller."""
SaveHashes = Callable[[str, Sequence[StoredFile]], Awaitable[None]]


class Stager:
    """Stages artifacts concurrently, within the limits of ``workers``.

    Args:
        store: the cache of the repository.
        workers: the threads to work in.
        counters: counts the files that are done.
        save_hashes: tells DVC's state the hashes of files in a directory, while others of it are
            still staged. None: that is left to the commit.
        removal: removes temp files. None: every removal is waited for.
        temp_dir_for: returns a directory of temp files that can be renamed to a path. Blocks.
            None: those of the session can be.
    """

    def __init__(
        self,
        store: ObjectStore,
        workers: FileWorkers,
        counters: Counters | None = None,
        save_hashes: SaveHashes | None = None,
        removal: DeferredRemoval | None = None,
        temp_dir_for: Callable[[str], str] | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._counters = counters or Counters()
        self._save_hashes = save_hashes
        self.removal = removal or DeferredRemoval(workers)
        self._hash_cache = HashCache(store.layout)
        # At most one process for each thread of bulk work, which waits for it.
        self._processes = BatchProcesses(store.layout)
        self._space = DiskSpace()
        self.sources = Sources(store, workers, self._hash_cache, self._processes, temp_dir_for)

    def close(self) -> None:
        """End the batch processes. Blocks; call it when nothing is being staged."""
        self._processes.close()

    async def stage(
        self,
        plan: ArtifactPlan,
        release: Release | None = None,
        *,
        may_reuse_copy: bool = True,
        progress: StagingProgress | None = None,
        is_awaited: Callable[[], bool] = lambda: True,
    ) -> StagedArtifact:
        """Copy and hash the files of the plan, unless they are unchanged.

        Args:
            plan: the files and directories of the artifact.
            release: awaited once all bytes are copied. After that the source may be overwritten or
                deleted, so large files are copied before it and hashed after it. None: the source
                stays as it is until this returns.
            may_reuse_copy: whether an unchanged copy in the workspace may be left as it is. False
                if an earlier call may still replace that copy.
            progress: is told how far the artifact has come.
            is_awaited: returns whether a task waits for the artifact at that moment. If none does,
                the work leaves a core to the caller.

        Raises:
            ArtifactChangedError: a file changed while it was read.
            StorageError: reading or writing failed.

        Cancellation: leaves only cache objects that nothing refers to. Removing large temp files
            goes on after this has raised.
        """
        job = StageJob(
            plan,
            self._store,
            self._workers,
            self._processes,
            self._space,
            progress or StagingProgress(),
            is_awaited,
            releases_source=release is not None,
        )
        if plan.total_bytes > QUICK_BYTES:
            await self.removal.wait_until_empty()
        try:
            return await self._stage(job, release, may_reuse_copy=may_reuse_copy)
        except Exception:
            await self.removal.remove(job.temp_paths)
            raise
        except BaseException:  # cancelled
            await self.removal.remove_later(job.temp_paths, plan.total_bytes, len(plan.files))
            raise

    async def _stage(
        self, job: StageJob, release: Release | None, *, may_reuse_copy: bool
    ) -> StagedArtifact:
        read_at_ns = time.time_ns()
        unchanged = await self._reuse_unchanged(job, release, may_reuse_copy=may_reuse_copy)
        if unchanged is not None:
            return unchanged
        if job.copies_directory:
            await job.runner.run(job.make_dirs)
        if release is None:
            batches = await self._run(job, job.steps())
        else:
            batches = await self._snapshot_then_stage(job, release)
        if job.copies_directory:
            await job.runner.run(job.finish_dirs)
        staged = job.result(batches)
        await self._sync(job, staged)
        return await self._prepare_hashes(job, staged, read_at_ns)

    async def _reuse_unchanged(
        self, job: StageJob, release: Release | None, *, may_reuse_copy: bool
    ) -> StagedArtifact | None:
        """Return the artifact as it was staged last, if it is unchanged.

        Otherwise the job uses the cached hashes of its unchanged files.
        """
        plan, request = job.plan, job.plan.request
        if request.reread or not request.cache or plan.moved_to:
            return None
        if plan.total_bytes < MIN_CACHED_BYTES:
            return None
        may_reuse = may_reuse_copy or not request.copy
        look_up = partial(self._look_up_hashes, job, may_reuse=may_reuse)
        unchanged = await job.runner.run(look_up)
        if unchanged is None:
            return None
        if release is not None:
            await release()
        await self._sync(job, unchanged)
        self._counters.count_unchanged(unchanged.nfiles, unchanged.size)
        return unchanged

    def _look_up_hashes(self, job: StageJob, *, may_reuse: bool) -> StagedArtifact | None:
        """Return the artifact if it is unchanged; else let the job use its hashes. Blocks."""
        known = self._hash_cache.load(job.plan.request, checkpoint_in_thread)
        if may_reuse:
            unchanged = find_unchanged(job.plan, known, self._store, checkpoint_in_thread)
            if unchanged is not None:
                return unchanged
        job.use_hashes(known, checkpoint_in_thread)
        return None

    async def _snapshot_then_stage(self, job: StageJob, release: Release) -> list[Batch]:
        """Copy large files, stage small ones, release the source, and then do the rest."""
        with self._workers.waited_for_first:
            if job.plan.isdir:  # a single file reserves its space itself
                await job.runner.run(job.check_space)
            batches = await self._run(job, job.steps())
        await job.prepare_release()
        await release()
        return batches + await self._run(job, job.large.remaining_steps())

    async def _run(
        self, job: StageJob, steps: Iterable[Callable[[], Awaitable[Batch]]]
    ) -> list[Batch]:
        counted = (partial(self._run_counted, step, job) for step in steps)
        return await run_together(counted, self._workers.workers)

    async def _run_counted(self, step: Callable[[], Awaitable[Batch]], job: StageJob) -> Batch:
        batch = await step()
        # No other task runs between the end of a large file and this, so no event counts its
        # bytes twice, or not at all.
        job.progress.count(
            batch.files_staged + batch.files_unchanged, batch.bytes_staged + batch.bytes_unchanged
        )
        if self._save_hashes is not None and job.many_small:
            await self._save_hashes(job.plan.request.path, batch.stored)
        self._counters.count_staged(batch.files_staged, batch.bytes_staged)
        self._counters.count_unchanged(batch.files_unchanged, batch.bytes_unchanged)
        return batch

    async def _sync(self, job: StageJob, staged: StagedArtifact) -> None:
        """Wait until the staged artifact is on the disk, if the session is durable."""
        if not self._store.layout.sync.is_enabled:
            return
        for steps in sync_rounds(job.plan, staged, self._store):
            jobs = (partial(job.runner.run, step) for step in steps)
            await run_together(jobs, self._workers.workers)

    async def _prepare_hashes(
        self, job: StageJob, staged: StagedArtifact, read_at_ns: int
    ) -> StagedArtifact:
        """Write the file of cached hashes; ``remember`` publishes it once the artifact is tracked.

        Returns:
            the artifact, with a record of the hashes that are saved or wait to be published.
        """
        if self._save_hashes is not None and job.many_small:
            staged = replace(staged, hashes_saved=True)
        if job.plan.total_bytes >= MIN_CACHED_BYTES:
            prepare = partial(self._hash_cache.prepare, job.plan, staged.files, read_at_ns)
            pending = await job.runner.run(partial(prepare, checkpoint_in_thread, staged.doubtful))
            staged = replace(staged, pending_hashes=pending)
        return staged

    def is_object_missing(self, error: Exception) -> bool:
        """Return whether staging failed because an object was removed from the cache."""
        cause = error.__cause__
        if not isinstance(cause, FileNotFoundError) or not isinstance(cause.filename, str):
            return False
        layout = self._store.layout
        path = cause.filename
        return is_inside(path, layout.cache_dir) and not is_inside(path, layout.cache_tmp)

    async def find_missing(self, staged: StagedArtifact) -> set[str]:
        """Return the MD5s of its objects that were removed from the cache in between."""
        look = partial(self._store.missing, staged.object_sizes)
        return await self._workers.run(look, bulk=staged.nfiles > 1)

    async def restore(self, staged: StagedArtifact, missing: set[str]) -> bool:
        """Store objects of a staged artifact again that were removed from the cache since.

        Args:
            staged: the artifact.
            missing: the MD5s of the objects.

        Returns:
            Whether all of them are in the cache again. False: no file has the bytes any more.

        Raises:
            StorageError: reading or writing failed.
        """
        runner = StepRunner(self._workers, staged.request.source, bulk=staged.size > SMALL_BYTES)
        steps = restoring_steps(staged, missing, self._store)
        jobs = (partial(runner.run_yielding, step) for step in steps)
        return all(await run_together(jobs, self._workers.workers))

    async def remember(self, tracked: TrackedArtifact) -> None:
        """Publish the hashes of a tracked artifact: later calls reuse them."""
        pending = tracked.staged.pending_hashes
        if pending is not None:
            await self._workers.run_to_end(partial(publish_hashes, pending, tracked.md5))
