"""Stage an artifact: every file copied and hashed in one pass, by bounded worker threads.

The bytes go into the DVC cache under their MD5, and what will stand in the workspace is
made complete beside it. Nothing refers to either yet: a stage that is cancelled or fails
leaves no trace but objects that ``dvc gc`` knows to remove. What has not changed since it was
logged is not read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from anyio.from_thread import check_cancelled

from ._artifact import ArtifactRequest, StagedArtifact, StoredFile, TrackedArtifact, is_inside
from ._errors import ArtifactChangedError, StorageError
from ._known import KNOWN_BYTES, KnownArtifact, KnownArtifacts
from ._large import READ, LargeFile, check_unchanged
from ._link import add_exec, leaves_plain_files, link_type, make_link
from ._place import Move, Placement, remove_tree
from ._plan import ArtifactPlan, IgnoreFilter, PlannedFile, make_plan
from ._statistics import Counters
from ._store import ObjectStore, remove_file, write_new
from ._unchanged import find_unchanged
from ._workers import FileWorkers, give_way, run_together

T = TypeVar("T")

# A file up to this size is read whole, and handled in a batch of such: a thread hop costs
# more than a small file does.
SMALL_BYTES = 2**20
BATCH_FILES = 64
CHECKED_FILES = 16
BATCH_BYTES = 8 * 2**20


@dataclass(slots=True)
class _Batch:
    """What came of some files: their records, and what the workspace needs of them."""

    stored: list[StoredFile] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    modes: list[tuple[str, int]] = field(default_factory=list)
    files_staged: int = 0
    bytes_staged: int = 0
    files_unchanged: int = 0
    bytes_unchanged: int = 0

    def count(self, planned: PlannedFile, *, unchanged: bool = False) -> None:
        if unchanged:
            self.files_unchanged += 1
            self.bytes_unchanged += planned.size
        else:
            self.files_staged += 1
            self.bytes_staged += planned.size


class Stager:
    """Stages artifacts side by side, within the bounds of ``workers``.

    Counts the files that are done in ``counters``.
    """

    def __init__(
        self, store: ObjectStore, workers: FileWorkers, counters: Counters | None = None
    ) -> None:
        self._store = store
        self._workers = workers
        self._counters = counters or Counters()
        self._known = KnownArtifacts(store.layout)

    async def plan(
        self, request: ArtifactRequest, ignore: Callable[[], IgnoreFilter]
    ) -> ArtifactPlan:
        """Look at what ``request.source`` holds; raises as ``make_plan`` does."""
        return await self._workers.run(
            partial(make_plan, request, self._store.layout.root, ignore, _checkpoint),
            bulk=False,
        )

    async def stage(self, plan: ArtifactPlan) -> StagedArtifact:
        """Copy and hash what the plan names, and is not known already.

        Raises:
            ArtifactChangedError: a file changed under the read.
            StorageError: reading or writing failed.

        Cancellation: nothing is left but cache objects nobody names.
        """
        bulk = len(plan.files) > BATCH_FILES or plan.total_bytes > BATCH_BYTES
        job = _StageJob(plan, self._store, self._workers, bulk)
        run = job.run
        read_at_ns = time.time_ns()
        try:
            if plan.request.cache and plan.total_bytes >= KNOWN_BYTES:
                job.known = await run(partial(self._known.load, plan.request))
                unchanged = await run(
                    partial(find_unchanged, plan, job.known, self._store, _checkpoint)
                )
                if unchanged is not None:
                    self._counters.files_unchanged += unchanged.nfiles
                    self._counters.bytes_unchanged += unchanged.size
                    return unchanged
            if job.beside and plan.isdir:
                await run(job.make_dirs)
            steps = (partial(self._counted, step) for step in job.steps())
            batches = await run_together(steps, self._workers.workers)
            if job.beside and plan.isdir:
                await run(job.finish_dirs)
            staged = job.result(batches)
            if plan.total_bytes >= KNOWN_BYTES:
                record = await run(partial(self._known.prepare, plan, staged.files, read_at_ns))
                staged = replace(staged, record=record)
            return staged
        except BaseException:
            await self._workers.run_to_end(job.discard)
            raise

    async def _counted(self, step: Callable[[], Awaitable[_Batch]]) -> _Batch:
        batch = await step()
        self._counters.files_staged += batch.files_staged
        self._counters.bytes_staged += batch.bytes_staged
        self._counters.files_unchanged += batch.files_unchanged
        self._counters.bytes_unchanged += batch.bytes_unchanged
        return batch

    async def remember(self, tracked: TrackedArtifact) -> None:
        """The artifact is tracked: from now on its files are known."""
        record = tracked.staged.record
        if record is not None:
            await self._workers.run(partial(record.publish, tracked.md5), bulk=False)

    async def discard(self, staged: StagedArtifact) -> None:
        """Take back a staged artifact that is not to be committed, or clear up after it."""
        if (staged.placement is not None and staged.placement.moves) or staged.record is not None:
            await self._workers.run_to_end(partial(_clear, staged))


@dataclass(slots=True)
class _StageJob:
    """One artifact being staged. Its steps run in worker threads, several at once."""

    plan: ArtifactPlan
    store: ObjectStore
    workers: FileWorkers
    bulk: bool
    """There is so much of it that smaller artifacts go first."""
    known: KnownArtifact = field(default_factory=KnownArtifact)
    beside: str = ""
    """Where the copy is built; empty when there is none."""
    made: list[str] = field(default_factory=list)
    """The files made for places in the workspace, each alone; empty where there is a copy."""
    temps: set[str] = field(default_factory=set)
    """Objects of large files in the making."""
    leaves_plain: bool = field(init=False)
    """Files that are no links stay as they are."""

    def __post_init__(self) -> None:
        if self.plan.request.copy:
            self.beside = self.store.workspace_temp_path()
        layout, isdir = self.store.layout, self.plan.isdir
        self.leaves_plain = not layout.links or (isdir and leaves_plain_files(layout, isdir))

    def steps(self) -> Iterator[Callable[[], Awaitable[_Batch]]]:
        """What is to be run: large files first, so that none of them is left to the end."""
        request = self.plan.request
        if not request.cache and not request.copy:
            return
        files = [file for file in self.plan.files if file.tracked or request.copy]
        for file in files:
            if file.size > SMALL_BYTES:
                yield partial(self._stage_large, file)
        batch: list[PlannedFile] = []
        batch_bytes = 0
        for file in files:
            if file.size > SMALL_BYTES:
                continue
            batch.append(file)
            batch_bytes += file.size
            if len(batch) >= BATCH_FILES or batch_bytes >= BATCH_BYTES:
                yield partial(self.run, partial(self._stage_batch, batch))
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self.run, partial(self._stage_batch, batch))

    async def run(self, func: Callable[[], T]) -> T:
        """Run a function in a worker thread."""
        return await self.workers.run(func, bulk=self.bulk)

    def result(self, batches: Sequence[_Batch]) -> StagedArtifact:
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

    def discard(self) -> None:
        for temp in self.temps:
            remove_file(temp)
        for path in (self.beside, *self.made):
            if path:
                remove_tree(path)

    async def _stage_large(self, planned: PlannedFile) -> _Batch:
        batch = _Batch()
        md5 = self._known_md5(planned)
        batch.count(planned, unchanged=md5 is not None)
        temp = self.store.temp_path() if md5 is None and self._is_cached(planned) else None
        copy = self.target(planned) if self.copies_bytes(planned) else None
        if temp is not None:
            self.temps.add(temp)
        if temp is not None or copy is not None:
            source, clones = self.source(planned), self.store.layout.shares_blocks
            large = LargeFile(planned, source, temp, copy, clones)
            async with self.workers.large_files:
                hashed = await large.transfer(lambda step: self.run(partial(self._explained, step)))
            md5 = md5 or hashed
        finish = partial(self._finish_large, planned, temp, md5, copy, batch)
        await self.run(partial(self._explained, finish))
        return batch

    def _finish_large(
        self,
        planned: PlannedFile,
        temp: str | None,
        md5: str | None,
        copy: str | None,
        batch: _Batch,
    ) -> None:
        isnew = False
        if temp is not None:
            assert md5 is not None
            isnew = self.store.publish(temp, md5, planned.size)
            self.temps.discard(temp)
        if md5 is not None:
            self.place(planned, md5, isnew, None, batch)
        elif copy is not None:
            _keep_times(copy, planned)

    def _stage_batch(self, files: list[PlannedFile]) -> _Batch:
        batch = _Batch()
        for start in range(0, len(files), CHECKED_FILES):
            # One look for cancellation, and one block that translates errors, for some files:
            # for each of them they would cost as much as the file.
            check_cancelled()
            with self.errors():
                for planned in files[start : start + CHECKED_FILES]:
                    self._stage_small(planned, batch)
        return batch

    def _stage_small(self, planned: PlannedFile, batch: _Batch) -> None:
        md5 = None if self.beside else self._known_md5(planned)
        batch.count(planned, unchanged=md5 is not None)
        if md5 is not None:
            self.place(planned, md5, False, None, batch)
            return
        data = _read_planned(self.source(planned), planned)
        if not self._is_cached(planned):
            write_new(self.target(planned), data, planned.mode, planned.mtime_ns)
            return
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.place(planned, md5, self.store.put(data, md5), data, batch)

    def _is_cached(self, planned: PlannedFile) -> bool:
        return planned.tracked and self.plan.request.cache

    def _known_md5(self, planned: PlannedFile) -> str | None:
        """The hash of a file that is known, and whose object is there."""
        md5 = self.known.md5_of(planned)
        return md5 if md5 is not None and self.store.has(md5, planned.size) else None

    def place(
        self, planned: PlannedFile, md5: str, isnew: bool, data: bytes | None, batch: _Batch
    ) -> None:
        """Make the workspace's file from an object, or from ``data``, the same bytes."""
        copied = bool(self.beside)
        if self.leaves_plain and (copied or not (planned.islink or planned.nlink > 1)):
            self._leave(planned, md5, data, batch)
            return
        layout, object_path = self.store.layout, self.store.object_path(md5)
        isdir = self.plan.isdir
        isexec = bool(planned.mode & 0o111)
        kind = link_type(
            layout, planned, copied=copied, isdir=isdir, object_path=object_path, isnew=isnew
        )
        stays = kind is None or (kind == "copy" and not planned.islink and planned.nlink == 1)
        if stays and not copied:
            # DVC makes a single file anew from the cache; these are the same bytes already.
            batch.stored.append(_stored(planned, md5, planned.inode, planned.mtime_ns))
            mode = layout.copy_mode | (0o100 if isexec else 0)
            if kind == "copy" and planned.mode != mode:
                batch.modes.append((self.source(planned), mode))
            return
        path = self.target(planned)
        if data is not None and copied and kind == "copy":
            write_new(path, data, layout.copy_mode)
        elif kind in (None, "copy") and os.path.lexists(path):
            pass  # a large file, copied step by step before
        else:
            make_link(kind or "copy", object_path, planned.size, path, layout)
        if kind is None:
            _keep_times(path, planned)
        elif kind == "copy":
            os.chmod(path, layout.copy_mode)
        if isexec and not isdir:
            add_exec(path)
        now = os.stat(path)
        batch.stored.append(_stored(planned, md5, now.st_ino, now.st_mtime_ns))
        if copied:
            return
        there = os.lstat(self.source(planned))
        if not planned.islink and (there.st_ino, there.st_mtime_ns) != planned.marks:
            raise ArtifactChangedError(self.source(planned), "was replaced or written")
        batch.moves.append(Move(path, self.source(planned), (there.st_ino, there.st_mtime_ns)))

    def _leave(self, planned: PlannedFile, md5: str, data: bytes | None, batch: _Batch) -> None:
        """The file stays what it is, or its copy what it was: the most frequent case."""
        if not self.beside:
            batch.stored.append(_stored(planned, md5, planned.inode, planned.mtime_ns))
            return
        path = self.target(planned)
        if data is not None:
            now = write_new(path, data, planned.mode, planned.mtime_ns)
        else:  # a large file, copied step by step before
            _keep_times(path, planned)
            now = os.stat(path)
        batch.stored.append(_stored(planned, md5, now.st_ino, now.st_mtime_ns))

    def copies_bytes(self, planned: PlannedFile) -> bool:
        """Whether a copy of the file will have bytes of its own, not be a link."""
        return bool(self.beside) and (
            not self._is_cached(planned) or leaves_plain_files(self.store.layout, self.plan.isdir)
        )

    def source(self, planned: PlannedFile) -> str:
        return _join(self.plan.request.source, planned.key)

    def target(self, planned: PlannedFile) -> str:
        """Where to make the workspace's file: in the copy, or alone beside its place."""
        if self.beside:
            return _join(self.beside, planned.key)
        path = self.store.workspace_temp_path()
        self.made.append(path)
        return path

    def _explained(self, func: Callable[[], T]) -> T:
        with self.errors():
            return func()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise an OSError as what it means for the artifact."""
        try:
            yield
        except FileNotFoundError as error:
            if isinstance(error.filename, str) and is_inside(
                error.filename, self.plan.request.source
            ):
                raise ArtifactChangedError(error.filename, "vanished") from error
            raise StorageError(self.plan.request.source, error) from error
        except OSError as error:
            raise StorageError(self.plan.request.source, error) from error


def _checkpoint() -> None:
    """In a thread that walks and compares: stop if cancelled, and let the event loop run."""
    check_cancelled()
    give_way()


def _clear(staged: StagedArtifact) -> None:
    if staged.placement is not None:
        staged.placement.clear()
    if staged.record is not None:
        staged.record.discard()


def _stored(planned: PlannedFile, md5: str, inode: int, mtime_ns: int) -> StoredFile:
    isexec = bool(planned.mode & 0o111)
    return StoredFile(planned.key, md5, planned.size, isexec, inode, mtime_ns)


def _read_planned(path: str, planned: PlannedFile) -> bytes:
    """All bytes of a small file, which is as it was planned before and after the read."""
    size = planned.size
    fd = os.open(path, READ)
    try:
        try:
            data = os.read(fd, size + 1)
            while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
        except OSError:  # not a file any more?
            check_unchanged(os.fstat(fd), planned, path)
            raise
        check_unchanged(os.fstat(fd), planned, path)
    finally:
        os.close(fd)
    if len(data) != size:
        raise ArtifactChangedError(path, "grew or shrank")
    return data


def _keep_times(path: str, planned: PlannedFile) -> None:
    """Leave a copy with the mode and mtime of its source, as ``shutil.copy2`` does."""
    os.chmod(path, planned.mode)
    os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns))


def _join(root: str, key: tuple[str, ...]) -> str:
    return os.sep.join((root, *key))
