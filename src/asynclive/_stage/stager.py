"""Stage an artifact: every file copied and hashed in one pass, by bounded worker threads.

The bytes go into the DVC cache under their MD5, and what will stand in the workspace is
made complete beside it. Nothing refers to either yet: a stage that is cancelled or fails
leaves no trace but objects that ``dvc gc`` knows to remove. What has not changed since it was
logged is not read again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from .._artifact.plan import ArtifactPlan
from .._artifact.records import StagedArtifact, StoredFile, TrackedArtifact
from .._cache.find_unchanged import find_unchanged
from .._cache.hash_cache import MIN_CACHED_BYTES, HashCache, HashCacheEntry
from .._cache.hash_cache_file import publish_hashes
from .._cache.object_store import ObjectStore
from .._fs.free_space import DiskSpace
from .._ingest.batch_processes import BatchProcesses
from .._ingest.small_files import Batch
from .._instrumentation.staging_progress import StagingProgress
from .._instrumentation.statistics import Counters
from .._workers.bounded_gather import run_together
from .._workers.fairness import checkpoint_in_thread
from .._workers.file_workers import FileWorkers
from .deferred_removal import QUICK_BYTES, DeferredRemoval
from .fsync_staged import sync_rounds
from .source import Sources
from .stage_job import StageJob

Taken = Callable[[], Awaitable[None]]
SaveHashes = Callable[[str, Sequence[StoredFile]], Awaitable[None]]


class Stager:
    """Stages artifacts side by side, within the bounds of ``workers``.

    Counts the files that are done in ``counters``. ``save_hashes`` tells DVC of the files that
    are to lie in a directory, while others of it are staged. ``trash`` removes what is made beside.
    """

    def __init__(
        self,
        store: ObjectStore,
        workers: FileWorkers,
        counters: Counters | None = None,
        save_hashes: SaveHashes | None = None,
        trash: DeferredRemoval | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._counters = counters or Counters()
        self._save_hashes = save_hashes
        self._trash = trash or DeferredRemoval(workers)
        self._known = HashCache(store.layout)
        # One for each thread of bulk work, which waits for it.
        self._processes = BatchProcesses(store.layout)
        self._space = DiskSpace()
        self.sources = Sources(store, workers, self._known, self._processes)

    def close(self) -> None:
        """End the worker processes. Blocking; nothing is being staged any more."""
        self._processes.close()

    async def stage(
        self,
        plan: ArtifactPlan,
        taken: Taken | None = None,
        *,
        looks_at_copy: bool = True,
        progress: StagingProgress | None = None,
        is_awaited: Callable[[], bool] = lambda: True,
    ) -> StagedArtifact:
        """Copy and hash what the plan names, and is not known already.

        Args:
            plan: what there is.
            taken: waited for once all bytes are taken, from when on the source may be
                overwritten or deleted: large files are copied first, then, and hashed after it.
                None: the source stays as it is until this has returned.
            looks_at_copy: whether a copy that is there already will still be there.
            progress: is told how far it has come.
            is_awaited: whether somebody waits for the end by now. What nobody does leaves a core
                to whoever goes on meanwhile.

        Raises:
            ArtifactChangedError: a file changed under the read.
            StorageError: reading or writing failed.

        Cancellation: nothing is left but cache objects nobody names. What takes long to remove
            is removed after this has returned.
        """
        progress = progress or StagingProgress()
        job = StageJob(
            plan, self._store, self._workers, self._processes, self._space, progress, is_awaited
        )
        job.files.keeps_newer = taken is not None
        run = job.runner.run
        if plan.total_bytes > QUICK_BYTES:
            await self._trash.emptied()
        read_at_ns = time.time_ns()
        try:
            if plan.request.cache and plan.total_bytes >= MIN_CACHED_BYTES and not plan.moved_to:
                looks_at_copy = looks_at_copy or not plan.request.copy
                unchanged = await run(partial(self._look, job, looks_at_copy=looks_at_copy))
                if unchanged is not None:
                    if taken is not None:
                        await taken()
                    await self._write_down(job, unchanged, job.files.known)
                    self._counters.count_unchanged(unchanged.nfiles, unchanged.size)
                    return unchanged
            if job.beside and plan.isdir:
                await run(partial(job.files.explained, job.make_dirs))
            if taken is None:
                batches = await self._run(job, job.steps())
            else:
                with self._workers.precedence:
                    if plan.isdir:  # a file's own reservation is enough
                        await run(partial(job.files.explained, job.check_space))
                    batches = await self._run(job, job.steps())
                await job.source_settled()
                job.runner.stand_back = True
                await taken()
                batches += await self._run(job, job.large.left())
            if job.beside and plan.isdir:
                await run(partial(job.files.explained, job.finish_dirs))
            staged = job.result(batches)
            await self._write_down(job, staged, HashCacheEntry())
            if self._save_hashes is not None and job.many_small:
                staged = replace(staged, hashes_saved=True)
            if plan.total_bytes >= MIN_CACHED_BYTES:
                record = await run(
                    partial(
                        self._known.prepare, plan, staged.files, read_at_ns, checkpoint_in_thread
                    )
                )
                staged = replace(staged, record=record)
            return staged
        except Exception:
            await self._trash.remove(job.made)
            raise
        except BaseException:  # cancelled
            await self._trash.remove_soon(job.made, plan.total_bytes, len(plan.files))
            raise

    def _look(self, job: StageJob, *, looks_at_copy: bool) -> StagedArtifact | None:
        """Have the job know what is known of its files; all of them, if none has changed."""
        known = self._known.load(job.plan.request, checkpoint_in_thread)
        if looks_at_copy:
            unchanged = find_unchanged(job.plan, known, self._store, checkpoint_in_thread)
        else:
            unchanged = None
        job.files.known = known
        if unchanged is None and known.files and job.many_small:
            job.find_unread(checkpoint_in_thread)
        return unchanged

    async def _run(
        self, job: StageJob, steps: Iterable[Callable[[], Awaitable[Batch]]]
    ) -> list[Batch]:
        counted = (partial(self._counted, step, job) for step in steps)
        return await run_together(counted, self._workers.workers)

    async def _counted(self, step: Callable[[], Awaitable[Batch]], job: StageJob) -> Batch:
        batch = await step()
        # No other task runs between the end of a large file and this.
        job.progress.count(
            batch.files_staged + batch.files_unchanged, batch.bytes_staged + batch.bytes_unchanged
        )
        if self._save_hashes is not None and job.many_small:
            await self._save_hashes(job.plan.request.path, batch.stored)
        self._counters.count_staged(batch.files_staged, batch.bytes_staged)
        self._counters.count_unchanged(batch.files_unchanged, batch.bytes_unchanged)
        return batch

    async def _write_down(
        self, job: StageJob, staged: StagedArtifact, known: HashCacheEntry
    ) -> None:
        """Wait until what is staged is on the disk, where that is wanted."""
        if not self._store.layout.sync.is_enabled:
            return
        for steps in sync_rounds(job.plan, staged, known, self._store):
            jobs = (partial(job.runner.run, partial(job.files.explained, step)) for step in steps)
            await run_together(jobs, self._workers.workers)

    async def remember(self, tracked: TrackedArtifact) -> None:
        """The artifact is tracked: from now on its files are known."""
        record = tracked.staged.record
        if record is not None:
            await self._workers.run_to_end(partial(publish_hashes, record, tracked.md5))

    async def discard(self, staged: StagedArtifact) -> None:
        """Take back a staged artifact that is not to be committed, or clear up after it."""
        await self._trash.remove(_beside(staged))

    async def discard_soon(self, staged: StagedArtifact) -> None:
        """The same for a caller who does not wait for what takes long to remove."""
        await self._trash.remove_soon(_beside(staged), staged.size, staged.nfiles)


def _beside(staged: StagedArtifact) -> list[str]:
    beside = [] if staged.placement is None else staged.placement.temp_paths
    return beside if staged.record is None else [*beside, staged.record.temp]
