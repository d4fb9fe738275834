"""Stage an artifact: every file copied and hashed in one pass, by bounded worker threads.

The bytes go into the DVC cache under their MD5, and what will stand in the workspace is
made complete beside it. Nothing refers to either yet: a stage that is cancelled or fails
leaves no trace but objects that ``dvc gc`` knows to remove. What has not changed since it was
logged is not read again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from anyio.from_thread import check_cancelled

from ._artifact import ArtifactRequest, StagedArtifact, StoredFile, TrackedArtifact
from ._filestage import Batch, FileStager, keep_times
from ._known import KNOWN_BYTES, KnownArtifact, KnownArtifacts
from ._large import LargeFile
from ._place import Move, Placement
from ._plan import ArtifactPlan, IgnoreFilter, PlannedFile, make_plan
from ._processes import BatchProcesses
from ._sampler import StagingProgress
from ._space import Space
from ._statistics import Counters
from ._store import ObjectStore
from ._syncing import sync_rounds
from ._trash import QUICK_BYTES, Trash
from ._unchanged import find_unchanged
from ._workers import FileWorkers, give_way, run_together

T = TypeVar("T")
SaveHashes = Callable[[str, Sequence[StoredFile]], Awaitable[None]]

# A file up to this size is read whole, and handled in a batch of such: a thread hop costs
# more than a small file does.
SMALL_BYTES = 2**20
BATCH_FILES = 64
BATCH_BYTES = 8 * 2**20
# From so many small files on, worker processes stage them: starting these costs as much as the
# interpreter's lock costs threads that stage a thousand or two.
PROCESS_FILES = 3000
PROCESS_BATCH_FILES = 256


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
        trash: Trash | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._counters = counters or Counters()
        self._save_hashes = save_hashes
        self._trash = trash or Trash(workers)
        self._known = KnownArtifacts(store.layout)
        # One for each thread of bulk work, which waits for it.
        self._processes = BatchProcesses(store.layout)
        self._space = Space()

    def close(self) -> None:
        """End the worker processes. Blocking; nothing is being staged any more."""
        self._processes.close()

    async def plan(
        self, request: ArtifactRequest, ignore: Callable[[], IgnoreFilter]
    ) -> ArtifactPlan:
        """Look at what ``request.source`` holds; raises as ``make_plan`` does."""
        return await self._workers.run(
            partial(make_plan, request, self._store.layout.root, ignore, _checkpoint),
            bulk=False,
        )

    async def stage(
        self, plan: ArtifactPlan, progress: StagingProgress | None = None
    ) -> StagedArtifact:
        """Copy and hash what the plan names, and is not known already.

        Args:
            plan: what there is.
            progress: is told how far it has come.

        Raises:
            ArtifactChangedError: a file changed under the read.
            StorageError: reading or writing failed.

        Cancellation: nothing is left but cache objects nobody names. What takes long to remove
            is removed after this has returned.
        """
        bulk = len(plan.files) > BATCH_FILES or plan.total_bytes > BATCH_BYTES
        progress = progress or StagingProgress()
        job = _StageJob(
            plan, self._store, self._workers, self._processes, self._space, bulk, progress
        )
        run = job.run
        if plan.total_bytes > QUICK_BYTES:
            await self._trash.emptied()
        read_at_ns = time.time_ns()
        try:
            if plan.request.cache and plan.total_bytes >= KNOWN_BYTES:
                known = await run(partial(self._known.load, plan.request, _checkpoint))
                unchanged = await run(
                    partial(find_unchanged, plan, known, self._store, _checkpoint)
                )
                job.files.known = known
                if unchanged is not None:
                    await self._write_down(job, unchanged, known)
                    self._counters.files_unchanged += unchanged.nfiles
                    self._counters.bytes_unchanged += unchanged.size
                    return unchanged
            if job.beside and plan.isdir:
                await run(partial(job.files.explained, job.make_dirs))
            steps = (partial(self._taken, step, job) for step in job.steps())
            batches = await run_together(steps, self._workers.workers)
            if job.beside and plan.isdir:
                await run(partial(job.files.explained, job.finish_dirs))
            staged = job.result(batches)
            await self._write_down(job, staged, KnownArtifact())
            if self._save_hashes is not None and job.many_small:
                staged = replace(staged, hashes_saved=True)
            if plan.total_bytes >= KNOWN_BYTES:
                record = await run(
                    partial(self._known.prepare, plan, staged.files, read_at_ns, _checkpoint)
                )
                staged = replace(staged, record=record)
            return staged
        except Exception:
            await self._trash.remove(job.made)
            raise
        except BaseException:  # cancelled
            await self._trash.remove_soon(job.made, plan.total_bytes, len(plan.files))
            raise

    async def _taken(self, step: Callable[[], Awaitable[Batch]], job: _StageJob) -> Batch:
        batch = await step()
        # No other task runs between the end of a large file and this.
        job.progress.count(
            batch.files_staged + batch.files_unchanged, batch.bytes_staged + batch.bytes_unchanged
        )
        if self._save_hashes is not None and job.many_small:
            await self._save_hashes(job.plan.request.path, batch.stored)
        self._counters.files_staged += batch.files_staged
        self._counters.bytes_staged += batch.bytes_staged
        self._counters.files_unchanged += batch.files_unchanged
        self._counters.bytes_unchanged += batch.bytes_unchanged
        return batch

    async def _write_down(
        self, job: _StageJob, staged: StagedArtifact, known: KnownArtifact
    ) -> None:
        """Wait until what is staged is on the disk, where that is wanted."""
        if not self._store.layout.sync.wanted:
            return
        for steps in sync_rounds(job.plan, staged, known, self._store):
            jobs = (partial(job.run, partial(job.files.explained, step)) for step in steps)
            await run_together(jobs, self._workers.workers)

    async def remember(self, tracked: TrackedArtifact) -> None:
        """The artifact is tracked: from now on its files are known."""
        record = tracked.staged.record
        if record is not None:
            await self._workers.run_to_end(partial(record.publish, tracked.md5))

    async def discard(self, staged: StagedArtifact) -> None:
        """Take back a staged artifact that is not to be committed, or clear up after it."""
        await self._trash.remove(_beside(staged))

    async def discard_soon(self, staged: StagedArtifact) -> None:
        """The same for a cancelled call, which does not wait for what takes long to remove."""
        await self._trash.remove_soon(_beside(staged), staged.size, staged.nfiles)


@dataclass(slots=True)
class _StageJob:
    """One artifact being staged. Its steps run in worker threads, several at once."""

    plan: ArtifactPlan
    store: ObjectStore
    workers: FileWorkers
    processes: BatchProcesses
    space: Space
    bulk: bool
    """There is so much of it that smaller artifacts go first."""
    progress: StagingProgress
    files: FileStager = field(init=False)
    temps: set[str] = field(default_factory=set)
    """Objects of large files in the making."""
    many_small: bool = False

    def __post_init__(self) -> None:
        self.many_small = (
            self.plan.request.cache
            and len(self.plan.files) >= PROCESS_FILES
            and sum(file.size <= SMALL_BYTES for file in self.plan.files) >= PROCESS_FILES
        )
        request = self.plan.request
        beside = self.store.workspace_temp_path() if request.copy else ""
        self.files = FileStager(request, self.plan.isdir, self.store, beside)
        self.files.checkpoint = check_cancelled

    @property
    def beside(self) -> str:
        """Where the copy is built; empty when there is none."""
        return self.files.beside

    def steps(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """What is to be run: large files first, so that none of them is left to the end."""
        request = self.plan.request
        if not request.cache and not request.copy:
            return
        files = [file for file in self.plan.files if file.tracked or request.copy]
        for file in files:
            if file.size > SMALL_BYTES:
                yield partial(self._stage_large, file)
        small = [file for file in files if file.size <= SMALL_BYTES]
        stage, most = self._stage_batch, BATCH_FILES
        if self.many_small and self.processes.can_stage(self.files):
            stage, most = self._stage_batch_in_process, PROCESS_BATCH_FILES
        batch: list[PlannedFile] = []
        batch_bytes = 0
        for file in small:
            batch.append(file)
            batch_bytes += file.size
            if len(batch) >= most or batch_bytes >= BATCH_BYTES:
                yield partial(self.run, partial(stage, batch))
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self.run, partial(stage, batch))

    async def run(self, func: Callable[[], T]) -> T:
        """Run a function in a worker thread."""
        return await self.workers.run(func, bulk=self.bulk)

    def result(self, batches: Sequence[Batch]) -> StagedArtifact:
        request = self.plan.request
        moves = [move for batch in batches for move in batch.moves]
        modes = [mode for batch in batches for mode in batch.modes]
        if self.beside:
            moves.append(Move(self.beside, request.path))
            modes += [(request.path, top.mode) for top in self.plan.dirs[:1]]
        tracked = list(self.plan.tracked)
        return StagedArtifact(
            request=request,
            isdir=self.plan.isdir,
            size=sum(file.size for file in tracked),
            nfiles=len(tracked),
            files=tuple(stored for batch in batches for stored in batch.stored),
            placement=Placement(tuple(moves), tuple(modes)),
        )

    def make_dirs(self) -> None:
        if self.files.copies_all_bytes and not self.store.layout.shares_blocks:
            self.space.check(self.store.layout.workspace_tmp, self.plan.total_bytes)
        for directory in self.plan.dirs:
            check_cancelled()
            os.mkdir(os.path.join(self.beside, *directory.key), 0o700)

    def finish_dirs(self) -> None:
        # Children first: filling a directory changes its mtime, and may need its write bit.
        for directory in reversed(self.plan.dirs):
            check_cancelled()
            path = os.path.join(self.beside, *directory.key)
            # To be moved into place, the copy itself has to be writable until it is there.
            os.chmod(path, directory.mode if directory.key else directory.mode | 0o200)
            os.utime(path, ns=(directory.mtime_ns, directory.mtime_ns))

    @property
    def made(self) -> list[str]:
        """All that was made beside, or may have been."""
        return [path for path in (*self.temps, self.beside, *self.files.made) if path]

    def _stage_batch(self, files: list[PlannedFile]) -> Batch:
        return self.files.stage_batch(files, check_cancelled)

    def _stage_batch_in_process(self, files: list[PlannedFile]) -> Batch:
        check_cancelled()
        return self.processes.stage_batch(self.files, files)

    async def _stage_large(self, planned: PlannedFile) -> Batch:
        batch, files = Batch(), self.files
        md5 = None
        if files.known.files:
            md5 = await self.run(partial(files.known_md5, planned))
        batch.count(planned, unchanged=md5 is not None)
        temp = self.store.temp_path() if md5 is None and files.is_cached(planned) else None
        copy = files.target(planned) if files.copies_bytes(planned) else None
        if temp is not None:
            self.temps.add(temp)
        if temp is None and copy is None:
            await self.run(partial(files.explained, partial(self._place, planned, md5, batch)))
            return batch
        source, clones = files.source(planned), self.store.layout.shares_blocks
        large = LargeFile(planned, source, temp, copy, clones, self.space, self.store.layout.sync)
        async with self.workers.large_files:
            self.progress.begin_file(large)
            try:
                hashed = await large.transfer(lambda step: self.run(partial(files.explained, step)))
                finish = partial(self._finish_large, large, md5 or hashed, batch)
                await self.run(partial(files.explained, finish))
            except BaseException:
                await self.workers.run_to_end(large.close)
                raise
            finally:
                self.progress.end_file(large)
        return batch

    def _finish_large(self, large: LargeFile, md5: str | None, batch: Batch) -> None:
        large.close()
        isnew = False
        if large.temp is not None:
            assert md5 is not None
            isnew = self.store.publish(large.temp, md5, large.planned.size)
            self.temps.discard(large.temp)
        if large.copy is not None and md5 is None:
            keep_times(large.copy, large.planned)
        else:
            self._place(large.planned, md5, batch, isnew=isnew)

    def _place(
        self, planned: PlannedFile, md5: str | None, batch: Batch, *, isnew: bool = False
    ) -> None:
        assert md5 is not None  # hashed, or known
        self.files.place(planned, md5, isnew, None, batch)


def _checkpoint() -> None:
    """In a thread that walks and compares: stop if cancelled, and let the event loop run."""
    check_cancelled()
    give_way()


def _beside(staged: StagedArtifact) -> list[str]:
    beside = [] if staged.placement is None else staged.placement.beside
    return beside if staged.record is None else [*beside, staged.record.temp]
