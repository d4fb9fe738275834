"""One artifact being staged: which steps it takes, and what each of them does.

Large files first, each by itself, then small ones in batches, in worker threads or processes.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import anyio
from anyio import from_thread

from .._artifact.placement import Mode, Move, Placement
from .._artifact.plan import ArtifactPlan, PlannedFile
from .._artifact.records import StagedArtifact, StoredFile
from .._cache.link_types import leaves_plain_files
from .._cache.object_store import ObjectStore
from .._fs.change_detection import file_clock_ns, seconds_to_next_tick
from .._fs.free_space import DiskSpace
from .._fs.paths import relocated
from .._ingest.batch_processes import BatchProcesses
from .._ingest.small_files import Batch, FileStager
from .._instrumentation.staging_progress import StagingProgress
from .._workers.file_workers import FileWorkers, StepRunner
from .large_files import LargeStager

pass

T = TypeVar("T")

# A file up to this size is read whole, and handled in a batch of such: a thread hop costs
# more than a small file does.
SMALL_BYTES = 2**20
BATCH_FILES = 64
BATCH_BYTES = 8 * 2**20
# From so many small files on, worker processes stage them: starting these costs as much as the
# interpreter's lock costs threads that stage a thousand or two.
PROCESS_FILES = 3000
PROCESS_BATCH_FILES = 256


def is_bulk(plan: ArtifactPlan) -> bool:
    """Whether it is so large that small artifacts go first."""
    return len(plan.files) > BATCH_FILES or plan.total_bytes > BATCH_BYTES


def are_many(small_files: int) -> bool:
    """Whether they are so many that worker processes should stage them."""
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
    """Whether somebody waits for the end by now."""
    runner: StepRunner = field(init=False)
    files: FileStager = field(init=False)
    large: LargeStager = field(init=False)
    many_small: bool = False
    unread: set[tuple[str, ...]] = field(default_factory=set)
    """Those of very many small files that are as they were: looked up, not read."""
    released_at_ns: int | None = None
    """When the source came to be its caller's again."""

    def __post_init__(self) -> None:
        self.runner = StepRunner(self.workers, is_bulk(self.plan), self.is_awaited)
        # What was moved is not waited for from the start.
        self.runner.stand_back = self.plan.moved_to is not None
        self.many_small = (
            self.plan.request.cache
            and are_many(len(self.plan.files))
            and are_many(sum(file.size <= SMALL_BYTES for file in self.plan.files))
        )
        request = self.plan.request
        beside = self.store.workspace_temp_path() if request.copy else ""
        self.files = FileStager(request, self.plan.isdir, self.store, beside)
        self.files.moved_to = self.plan.moved_to
        self.files.checkpoint = from_thread.check_cancelled
        self.large = LargeStager(
            self.files, self.store, self.workers, self.space, self.progress, self.runner
        )

    @property
    def beside(self) -> str:
        """Where the copy is built; empty when there is none."""
        return self.files.beside

    def steps(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """What is to be run: large files first, so that none of them is left to the end."""
        request = self.plan.request
        if not request.is_read:
            return
        files = [file for file in self.plan.files if file.tracked or request.copy]
        for file in files:
            if file.size > SMALL_BYTES:
                snapshot = self.files.keeps_newer and self.files.is_cached(file)
                yield partial(self.large.take if snapshot else self.large.stage, file)
        small = [file for file in files if file.size <= SMALL_BYTES]
        if self.many_small and self.processes.can_stage(self.files):
            new = [file for file in small if file.key not in self.unread]
            if are_many(len(new)):
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
                yield partial(self.runner.run_behind, partial(stage, batch))
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self.runner.run_behind, partial(stage, batch))

    def find_unread(self, checkpoint: Callable[[], None]) -> None:
        """Find the files that need not be read again; of a copy all are."""
        if self.beside:
            return
        for number, file in enumerate(self.plan.files):
            if number % BATCH_FILES == 0:
                checkpoint()
            if self.files.known.lookup(file) is not None:
                self.unread.add(file.key)

    def check_space(self) -> None:
        """Refuse what cannot fit, before a byte is copied: all snapshots are there at once."""
        layout, files = self.store.layout, self.files
        if layout.uses_reflinks:
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
            await anyio.sleep(seconds_to_next_tick(newest_ns, file_clock_ns()))
        self.released_at_ns = file_clock_ns()

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
        if self.files.copies_all_bytes and not self.store.layout.uses_reflinks:
            self.space.check(self.store.layout.workspace_tmp, self.plan.total_bytes)
        for directory in self.plan.dirs:
            from_thread.check_cancelled()
            os.mkdir(os.path.join(self.beside, *directory.key), 0o700)

    def finish_dirs(self) -> None:
        # Children first: filling a directory changes its mtime, and may need its write bit.
        for directory in reversed(self.plan.dirs):
            from_thread.check_cancelled()
            path = os.path.join(self.beside, *directory.key)
            # To be moved into place, the copy itself has to be writable until it is there.
            os.chmod(path, directory.mode if directory.key else directory.mode | 0o200)
            os.utime(path, ns=(directory.mtime_ns, directory.mtime_ns))

    @property
    def made(self) -> list[str]:
        """All that was made beside, or may have been."""
        return [path for path in (*self.large.temps, self.beside, *self.files.made) if path]

    def _stage_batch(self, files: list[PlannedFile]) -> Batch:
        return self.files.stage_batch(files, from_thread.check_cancelled)

    def _stage_batch_in_process(self, files: list[PlannedFile]) -> Batch:
        from_thread.check_cancelled()
        return self.processes.stage_batch(self.files, files)


def without_doubtful(files: Sequence[StoredFile], released_at_ns: int) -> list[StoredFile]:
    """Take the marks from files whose next bytes may have the same ones.

    DVC's state would say of the newer bytes that they have the hash of the older.
    """
    return [
        file._replace(inode=0) if seconds_to_next_tick(file.mtime_ns, released_at_ns) else file
        for file in files
    ]
