"""Stage an artifact: every file copied and hashed in one pass, by bounded worker threads.

The bytes go into the DVC cache under their MD5, and what will stand in the workspace is
made complete beside it. Nothing refers to either yet: a stage that is cancelled or fails
leaves no trace but objects that ``dvc gc`` knows to remove. What has not changed since it was
logged is not read again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import anyio
from anyio.from_thread import check_cancelled

from ._artifact import (
    ArtifactRequest,
    StagedArtifact,
    StoredFile,
    TrackedArtifact,
    relocated,
)
from ._filestage import Batch, FileStager, keep_times
from ._known import KNOWN_BYTES, KnownArtifact, KnownArtifacts
from ._large import LargeFile
from ._link import leaves_plain_files
from ._moved import MovedSource
from ._newer import seconds_to_next_stamp, stamp_ns
from ._place import Mode, Move, Placement
from ._plan import ArtifactPlan, IgnoreFilter, PlannedFile, make_plan
from ._processes import BatchProcesses
from ._sampler import StagingProgress
from ._snapshot import Snapshot, as_planned, without_doubtful
from ._space import Space
from ._statistics import Counters
from ._store import ObjectStore
from ._syncing import sync_rounds
from ._trash import QUICK_BYTES, Trash
from ._unchanged import find_unchanged
from ._workers import FileWorkers, give_way, run_together

T = TypeVar("T")
Taken = Callable[[], Awaitable[None]]
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
        self,
        plan: ArtifactPlan,
        taken: Taken | None = None,
        *,
        looks_at_copy: bool = True,
        progress: StagingProgress | None = None,
    ) -> StagedArtifact:
        """Copy and hash what the plan names, and is not known already.

        Args:
            plan: what there is.
            taken: waited for once all bytes are taken, from when on the source may be
                overwritten or deleted: large files are copied first, then, and hashed after it.
                None: the source stays as it is until this has returned.
            looks_at_copy: whether a copy that is there already will still be there.
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
        job.files.keeps_newer = taken is not None
        run = job.run
        if plan.total_bytes > QUICK_BYTES:
            await self._trash.emptied()
        read_at_ns = time.time_ns()
        try:
            if plan.request.cache and plan.total_bytes >= KNOWN_BYTES and not plan.moved_to:
                known = await run(partial(self._known.load, plan.request, _checkpoint))
                unchanged = None
                if looks_at_copy or not plan.request.copy:
                    unchanged = await run(
                        partial(find_unchanged, plan, known, self._store, _checkpoint)
                    )
                job.files.known = known
                if unchanged is None and known.files and job.many_small:
                    await run(partial(job.find_unread, _checkpoint))
                if unchanged is not None:
                    if taken is not None:
                        await taken()
                    await self._write_down(job, unchanged, known)
                    self._counters.files_unchanged += unchanged.nfiles
                    self._counters.bytes_unchanged += unchanged.size
                    return unchanged
            if job.beside and plan.isdir:
                await run(partial(job.files.explained, job.make_dirs))
            if taken is None:
                batches = await self._run(job, job.steps())
            else:
                with self._workers.precedence:
                    await run(partial(job.files.explained, job.check_space))
                    batches = await self._run(job, job.steps())
                await job.source_settled()
                await taken()
                batches += await self._run(job, job.left())
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

    async def _run(
        self, job: _StageJob, steps: Iterable[Callable[[], Awaitable[Batch]]]
    ) -> list[Batch]:
        counted = (partial(self._counted, step, job) for step in steps)
        return await run_together(counted, self._workers.workers)

    async def _counted(self, step: Callable[[], Awaitable[Batch]], job: _StageJob) -> Batch:
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

    async def move_aside(self, plan: ArtifactPlan) -> tuple[ArtifactPlan, MovedSource]:
        """Take the source away from its caller; the plan says where it is then."""
        files = FileStager(plan.request, plan.isdir, self._store, "")
        layout = self._store.layout
        take = partial(MovedSource.take, plan, layout.workspace_tmp, layout.sync)
        take = partial(files.explained, take)
        moved = await self._workers.run_to_end(take)
        return replace(plan, moved_to=moved.aside), moved

    async def put_back(self, moved: MovedSource) -> None:
        """It was not logged: it is its caller's again."""
        await self._workers.run_to_end(moved.put_back)

    async def drop(self, moved: MovedSource) -> None:
        """It is logged."""
        await self._workers.run_to_end(moved.drop)

    async def remember(self, tracked: TrackedArtifact) -> None:
        """The artifact is tracked: from now on its files are known."""
        record = tracked.staged.record
        if record is not None:
            await self._workers.run_to_end(partial(record.publish, tracked.md5))

    async def discard(self, staged: StagedArtifact) -> None:
        """Take back a staged artifact that is not to be committed, or clear up after it."""
        await self._trash.remove(_beside(staged))

    async def discard_soon(self, staged: StagedArtifact) -> None:
        """The same for a caller who does not wait for what takes long to remove."""
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
    unread: set[tuple[str, ...]] = field(default_factory=set)
    """Those of very many small files that are as they were: looked up, not read."""
    snapshots: list[Snapshot] = field(default_factory=list)
    """Of large files, which are still to be hashed; where the source is not waited for."""
    released_at_ns: int | None = None
    """When the source came to be its caller's again."""

    def __post_init__(self) -> None:
        self.many_small = (
            self.plan.request.cache
            and len(self.plan.files) >= PROCESS_FILES
            and sum(file.size <= SMALL_BYTES for file in self.plan.files) >= PROCESS_FILES
        )
        request = self.plan.request
        beside = self.store.workspace_temp_path() if request.copy else ""
        self.files = FileStager(request, self.plan.isdir, self.store, beside)
        self.files.moved_to = self.plan.moved_to
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
                snapshot = self.files.keeps_newer and self.files.is_cached(file)
                yield partial(self._take_large if snapshot else self._stage_large, file)
        small = [file for file in files if file.size <= SMALL_BYTES]
        if self.many_small and self.processes.can_stage(self.files):
            new = [file for file in small if file.key not in self.unread]
            if len(new) >= PROCESS_FILES:
                yield from self._batches(self._stage_batch_in_process, new, PROCESS_BATCH_FILES)
                small = [file for file in small if file.key in self.unread]
        yield from self._batches(self._stage_batch, small, BATCH_FILES)

    def _batches(
        self, stage: Callable[[list[PlannedFile]], Batch], files: list[PlannedFile], most: int
    ) -> Iterator[Callable[[], Awaitable[Batch]]]:
        batch: list[PlannedFile] = []
        batch_bytes = 0
        for file in files:
            batch.append(file)
            batch_bytes += file.size
            if len(batch) >= most or batch_bytes >= BATCH_BYTES:
                yield partial(self.run, partial(stage, batch))
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self.run, partial(stage, batch))

    def find_unread(self, checkpoint: Callable[[], None]) -> None:
        """Find the files that need not be read again; of a copy all are."""
        if self.beside:
            return
        for number, file in enumerate(self.plan.files):
            if number % BATCH_FILES == 0:
                checkpoint()
            if self.files.known.md5_of(file) is not None:
                self.unread.add(file.key)

    def check_space(self) -> None:
        """Refuse what cannot fit, before a byte is copied: all snapshots are there at once."""
        layout, files = self.store.layout, self.files
        if layout.shares_blocks:
            return
        large = [file for file in self.plan.files if file.size > SMALL_BYTES]
        self.space.check(
            layout.cache_tmp,
            sum(
                file.size
                for file in large
                if files.is_cached(file) and files.known_md5(file) is None
            ),
        )

    async def source_settled(self) -> None:
        """Wait, for a tick of its file system, until a write to the source is sure to show."""
        layout, isdir = self.store.layout, self.plan.isdir
        if not (self.beside or leaves_plain_files(layout, isdir)) and self.plan.files:
            newest_ns = max(file.mtime_ns for file in self.plan.files)
            await anyio.sleep(seconds_to_next_stamp(newest_ns, stamp_ns()))
        self.released_at_ns = stamp_ns()

    def left(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """What is to be run once the source is no longer needed."""
        for snapshot in self.snapshots:
            yield partial(self._finish_snapshot, snapshot)

    async def run(self, func: Callable[[], T]) -> T:
        """Run a function in a worker thread."""
        return await self.workers.run(func, bulk=self.bulk)

    def result(self, batches: Sequence[Batch]) -> StagedArtifact:
        request = self.plan.request
        moves = [move for batch in batches for move in batch.moves]
        modes = [mode for batch in batches for mode in batch.modes]
        if self.beside:
            moves.append(Move(self.beside, request.path))
            modes += [Mode(request.path, top.mode) for top in self.plan.dirs[:1]]
        elif self.plan.moved_to is not None:
            moves.append(Move(self.plan.moved_to, request.path, if_free=True))
            modes = [
                mode._replace(path=relocated(mode.path, self.plan.moved_to, request.path))
                for mode in modes
            ]
        tracked = list(self.plan.tracked)
        stored = [stored for batch in batches for stored in batch.stored]
        if self.released_at_ns is not None and not self.beside:
            stored = without_doubtful(stored, self.released_at_ns)
        return StagedArtifact(
            request=request,
            isdir=self.plan.isdir,
            size=sum(file.size for file in tracked),
            nfiles=len(tracked),
            files=tuple(stored),
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
        files = self.files
        md5, batch = await self._known(planned)
        temp = self._temp_path() if md5 is None and files.is_cached(planned) else None
        copy = files.target(planned) if files.copies_bytes(planned) else None
        if temp is None and copy is None:
            await self.run(partial(files.explained, partial(self._place, planned, md5, batch)))
            return batch
        large = self._large_file(planned, files.source(planned), temp, copy)
        async with self.workers.large_files:
            self.progress.begin_file(large)
            try:
                hashed = await large.transfer(self._run_explained)
                finish = partial(self._finish_large, large, planned, temp, md5 or hashed, batch)
                await self._run_explained(finish)
            except BaseException:
                await self.workers.run_to_end(large.close)
                raise
            finally:
                self.progress.end_file(large)
        return batch

    async def _known(self, planned: PlannedFile) -> tuple[str | None, Batch]:
        md5 = None
        if self.files.known.files:
            md5 = await self.run(partial(self.files.known_md5, planned))
        batch = Batch()
        batch.count(planned, unchanged=md5 is not None)
        return md5, batch

    async def _run_explained(self, step: Callable[[], T]) -> T:
        return await self.run(partial(self.files.explained, step))

    def _temp_path(self) -> str:
        temp = self.store.temp_path()
        self.temps.add(temp)
        return temp

    def _large_file(
        self,
        planned: PlannedFile,
        source: str,
        temp: str | None,
        copy: str | None,
        *,
        is_snapshot: bool = False,
    ) -> LargeFile:
        clones, sync = self.store.layout.shares_blocks, self.store.layout.sync
        return LargeFile(planned, source, temp, copy, clones, self.space, sync, is_snapshot)

    async def _take_large(self, planned: PlannedFile) -> Batch:
        """Copy a file, for its source is about to change; the rest is done afterwards."""
        md5, batch = await self._known(planned)
        if md5 is not None:  # its object does not change
            path = self.store.object_path(md5)
            taken = await self._run_explained(partial(as_planned, planned, path))
            self.snapshots.append(Snapshot(planned, path, taken, md5))
            self._count_later(planned)
            return batch
        temp = self._temp_path()
        large = self._large_file(planned, self.files.source(planned), temp, None)
        async with self.workers.snapshots:
            try:
                taken = await large.snapshot(self._run_first)
            finally:
                await self.workers.run_to_end(large.close)
        self.snapshots.append(Snapshot(planned, temp, taken))
        self._count_later(planned)
        return batch

    def _count_later(self, planned: PlannedFile) -> None:
        """What is counted next is only taken: it is done when it has been hashed."""
        self.progress.count(-1, -planned.size)

    async def _run_first(self, step: Callable[[], T]) -> T:
        """Run what a caller waits for, ahead of what nobody does."""
        return await self.workers.run(partial(self.files.explained, step), bulk=False)

    async def _run_after_snapshots(self, step: Callable[[], T]) -> T:
        await self.workers.precedence.given()
        return await self._run_explained(step)

    async def _finish_snapshot(self, snapshot: Snapshot) -> Batch:
        """Hash it, make its object, and what the workspace gets."""
        planned, path, md5, batch, files = (
            snapshot.planned,
            snapshot.path,
            snapshot.md5,
            Batch(),
            self.files,
        )
        temp = path if md5 is None else None
        copy = files.target(planned) if files.copies_bytes(planned) else None
        if md5 is not None and copy is None:
            await self._run_explained(partial(self._place, planned, md5, batch))
            self.progress.count(1, planned.size)
            return batch
        large = self._large_file(snapshot.taken, path, None, copy, is_snapshot=md5 is None)
        async with self.workers.large_files:
            self.progress.begin_file(large)
            try:
                hashed = await large.transfer(self._run_after_snapshots)
                finish = partial(self._finish_large, large, planned, temp, md5 or hashed, batch)
                await self._run_explained(finish)
            except BaseException:
                await self.workers.run_to_end(large.close)
                raise
            finally:
                self.progress.end_file(large)
        self.progress.count(1, planned.size)
        return batch

    def _finish_large(
        self,
        large: LargeFile,
        planned: PlannedFile,
        temp: str | None,
        md5: str | None,
        batch: Batch,
    ) -> None:
        large.close()
        isnew = False
        if temp is not None:
            assert md5 is not None
            isnew = self.store.publish(temp, md5, planned.size)
            self.temps.discard(temp)
        if large.copy is not None and md5 is None:
            keep_times(large.copy, planned)
        else:
            self._place(planned, md5, batch, isnew=isnew)

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
