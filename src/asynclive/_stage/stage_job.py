"""One artifact being staged: its steps, their order, and the record that comes out.

Large files come first, each by itself; then small ones in batches, in threads or processes.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio import from_thread

from .._artifact.placement import Mode, Move, Placement
from .._artifact.plan import ArtifactPlan, PlannedFile
from .._artifact.records import StagedArtifact, StoredFile
from .._cache.hash_cache import HashCacheEntry
from .._cache.link_types import leaves_plain_files
from .._cache.object_store import ObjectStore
from .._fs.change_detection import file_clock_ns, seconds_to_next_tick
from .._fs.file_io import set_mode
from .._fs.free_space import DiskSpace
from .._fs.kernel_copy import taken_bytes
from .._fs.paths import relocated
from .._ingest.batch_processes import BatchProcesses
from .._ingest.copy_and_hash import CopyOptions
from .._ingest.small_files import FileStager
from .._ingest.workspace_files import Batch, WorkspaceFiles
from .._instrumentation.staging_progress import StagingProgress
from .._workers.file_workers import FileWorkers
from .large_files import LargeStager
from .step_runner import StepRunner

# A file up to this size is read whole, in a batch of small files: a thread hop costs more than a
# small file does.
SMALL_BYTES = 2**20
BATCH_FILES = 64
BATCH_BYTES = 8 * 2**20
# With at least this many small files, batch processes stage them. To start the processes costs as
# much as threads lose by waiting for the GIL over one or two thousand files.
PROCESS_FILES = 3000
PROCESS_BATCH_FILES = 256
# Chunks per call that releases the GIL, where the user's event loop runs in the same process. Each
# time the thread takes the GIL again, the loop may have to wait (perf/benches/training_stall.py).
# In a worker process there is no such loop, and one chunk is better. A Linux kernel without
# preemption does not interrupt a copy, however slow its memory is, so other threads would wait for
# all of it (perf/benches/large_in_flight.py).
CHUNKS_AT_ONCE = 8


def is_bulk(plan: ArtifactPlan) -> bool:
    """Return whether the artifact is so large that small artifacts go first."""
    return len(plan.files) > BATCH_FILES or plan.total_bytes > BATCH_BYTES


def are_many(small_files: int) -> bool:
    """Return whether this number of small files is worth batch processes."""
    return small_files >= PROCESS_FILES


@dataclass(slots=True)
class StageJob:
    """One artifact being staged. Its steps run in worker threads, several at once."""

    plan: ArtifactPlan
    store: ObjectStore
    workers: FileWorkers
    processes: BatchProcesses
    space: DiskSpace
    progress: StagingProgress
    is_awaited: Callable[[], bool] = lambda: True
    """Returns whether a task waits for the artifact at that moment."""
    releases_source: bool = False
    """Whether the caller may change the source before the artifact is staged."""
    runner: StepRunner = field(init=False)
    workspace: WorkspaceFiles = field(init=False)
    files: FileStager = field(init=False)
    large: LargeStager = field(init=False)
    many_small: bool = field(init=False)
    """Whether the artifact is cached and has so many small files that processes may stage them."""
    _unchanged: set[tuple[str, ...]] = field(default_factory=set)
    """The keys of unchanged files, if ``many_small``: they need not be read."""
    _released_at_ns: int | None = None
    """When the caller got its source back."""

    def __post_init__(self) -> None:
        plan, request, layout = self.plan, self.plan.request, self.store.layout
        self.many_small = (
            request.cache
            and are_many(len(plan.files))
            and are_many(sum(file.size <= SMALL_BYTES for file in plan.files))
        )
        # The caller of a source that was moved has gone on before it was planned.
        in_background = plan.moved_to is not None
        self.runner = StepRunner(
            self.workers, request.source, is_bulk(plan), self.is_awaited, in_background
        )
        self.workspace = WorkspaceFiles(
            request,
            plan.isdir,
            self.store,
            copy_root=self.store.workspace_temp_path(plan.temp_dir) if request.copy else "",
            moved_to=plan.moved_to,
            releases_source=self.releases_source,
            checkpoint=from_thread.check_cancelled,
            is_on_other_disk=plan.is_on_other_disk,
        )
        self.files = FileStager(self.workspace)
        options = CopyOptions(
            layout.uses_reflinks,
            self.space,
            layout.sync,
            CHUNKS_AT_ONCE if self.workers.scheduling.shares_interpreter else 1,
            self.runner.should_yield,
        )
        self.large = LargeStager(self.files, self.runner, self.progress, options)

    @property
    def copy_root(self) -> str:
        """The temp path at which the copy is built; empty if there is none."""
        return self.workspace.copy_root

    @property
    def copies_directory(self) -> bool:
        return bool(self.copy_root) and self.plan.isdir

    @property
    def temp_paths(self) -> list[str]:
        """All paths that the job has made, or may have."""
        paths = (*self.large.temps, self.copy_root, *self.workspace.temp_paths)
        return [path for path in paths if path]

    def steps(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """Return the jobs to run: large files first, so that none of them is left to the end."""
        request = self.plan.request
        if not request.is_read:
            return
        files = [file for file in self.plan.files if file.tracked or request.copy]
        for file in files:
            if file.size > SMALL_BYTES:
                snapshot = self.releases_source and self.workspace.is_cached(file)
                yield partial(self.large.snapshot if snapshot else self.large.stage, file)
        small = [file for file in files if file.size <= SMALL_BYTES]
        if self.many_small and self.processes.can_stage(self.workspace):
            changed = [file for file in small if file.key not in self._unchanged]
            if are_many(len(changed)):
                yield from self._batches(self._stage_in_process, changed, PROCESS_BATCH_FILES)
                small = [file for file in small if file.key in self._unchanged]
        yield from self._batches(self._stage_in_thread, small, BATCH_FILES)

    def _batches(
        self, stage: Callable[[list[PlannedFile]], Batch], files: list[PlannedFile], most: int
    ) -> Iterator[Callable[[], Awaitable[Batch]]]:
        batch: list[PlannedFile] = []
        batch_bytes = 0
        for file in files:
            batch.append(file)
            batch_bytes += file.size
            if len(batch) >= most or batch_bytes >= BATCH_BYTES:
                yield partial(self.runner.run_yielding, partial(stage, batch))
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self.runner.run_yielding, partial(stage, batch))

    def _stage_in_thread(self, files: list[PlannedFile]) -> Batch:
        return self.files.stage_batch(files, from_thread.check_cancelled)

    def _stage_in_process(self, files: list[PlannedFile]) -> Batch:
        from_thread.check_cancelled()
        batch = self.processes.stage_batch(self.workspace, files)
        return self._stage_in_thread(files) if batch is None else batch

    def use_hashes(self, known: HashCacheEntry, checkpoint: Callable[[], None]) -> None:
        """Use the cached hashes of the artifact: unchanged files are not read again. Blocks."""
        self.files.use_hashes(known)
        # Every file of a copy is read, unchanged or not.
        if not known.files or not self.many_small or self.copy_root:
            return
        for number, file in enumerate(self.plan.files):
            if number % BATCH_FILES == 0:
                checkpoint()
            if known.lookup(file) is not None:
                self._unchanged.add(file.key)

    def check_space(self) -> None:
        """Raise OSError if the snapshots do not fit; all of them exist at the same time. Blocks."""
        layout, files, workspace = self.store.layout, self.files, self.workspace
        if layout.uses_reflinks:
            return
        large = [file for file in self.plan.files if file.size > SMALL_BYTES]
        self._check_space(
            layout.cache_tmp,
            [file for file in large if workspace.is_cached(file) and files.known_md5(file) is None],
        )

    def _check_space(self, directory: str, files: Sequence[PlannedFile]) -> None:
        """Raise OSError if the files do not fit below a directory, even without their holes."""
        size = sum(file.size for file in files)
        try:
            self.space.check(directory, size)
        except OSError:
            paths = map(self.workspace.source_path, files)
            taken = sum(taken_bytes(os.stat(path)) for path in paths)
            if taken == size:
                raise
            self.space.check(directory, taken, size)

    async def prepare_release(self) -> None:
        """Wait until a write to the source is sure to show; then the caller may have it back.

        This takes at most a tick of the file system's clock. The rest of the job is background
        work.
        """
        layout, isdir = self.store.layout, self.plan.isdir
        is_replaced = not self.copy_root and not leaves_plain_files(layout, isdir)
        if is_replaced and self.plan.files:
            newest_ns = max(file.mtime_ns for file in self.plan.files)
            await anyio.sleep(seconds_to_next_tick(newest_ns, file_clock_ns()))
        self._released_at_ns = file_clock_ns()
        self.runner.move_to_background()

    def make_dirs(self) -> None:
        """Make the directories of the copy, writable to us alone. Blocks.

        Raises:
            OSError: also if the copy does not fit.
        """
        if self.workspace.copies_all_bytes and not self.store.layout.uses_reflinks:
            self._check_space(os.path.dirname(self.copy_root), self.plan.files)
        for directory in self.plan.dirs:
            from_thread.check_cancelled()
            os.mkdir(os.path.join(self.copy_root, *directory.key), 0o700)

    def finish_dirs(self) -> None:
        """Give the directories of the copy their modes and times. Blocks."""
        # Children first: filling a directory changes its mtime, and may need its write bit.
        for directory in reversed(self.plan.dirs):
            from_thread.check_cancelled()
            path = os.path.join(self.copy_root, *directory.key)
            # The copy itself stays writable until it is in its place: renaming it needs that.
            set_mode(path, directory.mode if directory.key else directory.mode | 0o200)
            os.utime(path, ns=(directory.mtime_ns, directory.mtime_ns))

    def result(self, batches: Sequence[Batch]) -> StagedArtifact:
        """Return the record of the artifact from the results of all steps."""
        request = self.plan.request
        moves = [move for batch in batches for move in batch.moves]
        modes = [mode for batch in batches for mode in batch.modes]
        if self.copy_root:
            moves.append(Move(self.copy_root, request.path))
            modes += [Mode(request.path, top.mode) for top in self.plan.dirs[:1]]
        elif self.plan.moved_to is not None:
            moves.append(Move(self.plan.moved_to, request.path, if_free=True))
            modes = [
                mode._replace(path=relocated(mode.path, self.plan.moved_to, request.path))
                for mode in modes
            ]
        tracked = list(self.plan.tracked)
        stored = [stored for batch in batches for stored in batch.stored]
        if self._released_at_ns is not None and not self.copy_root:
            stored = without_doubtful(stored, self._released_at_ns)
        doubtful = frozenset(key for batch in batches for key in batch.doubtful)
        if doubtful and not self.copy_root and self.plan.moved_to is None:
            stored = [each._replace(inode=0) if each.key in doubtful else each for each in stored]
        return StagedArtifact(
            request=request,
            isdir=self.plan.isdir,
            size=sum(file.size for file in tracked),
            nfiles=len(tracked),
            files=tuple(stored),
            doubtful=doubtful,
            placement=Placement(tuple(moves), tuple(modes)),
        )


def without_doubtful(files: Sequence[StoredFile], released_at_ns: int) -> list[StoredFile]:
    """Return the files without inodes where a write may have left inode and mtime unchanged.

    Otherwise DVC's state would give the newer bytes the hash of the older ones.
    """
    return [
        file._replace(inode=0) if seconds_to_next_tick(file.mtime_ns, released_at_ns) else file
        for file in files
    ]
