"""Stage an artifact: every file copied and hashed in one pass, by bounded worker threads.

The bytes go into the DVC cache under their MD5, and what will stand in the workspace is
made complete beside it. Nothing refers to either yet: a stage that is cancelled or fails
leaves no trace but objects that ``dvc gc`` knows to remove.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from anyio.from_thread import check_cancelled

from ._artifact import ArtifactRequest, StagedArtifact, StoredFile, is_inside
from ._errors import ArtifactChangedError, StorageError
from ._link import add_exec, clone, copy_step, link_type, make_link
from ._place import Move, Placement, remove_tree
from ._plan import ArtifactPlan, IgnoreFilter, PlannedFile, make_plan
from ._statistics import Counters
from ._store import ObjectStore, create, remove_file, set_mode, write_all
from ._workers import FileWorkers

# A file up to this size is read whole, and handled in a batch of such: a thread hop costs
# more than a small file does.
SMALL_BYTES = 2**20
BATCH_FILES = 64
CHECKED_FILES = 16
BATCH_BYTES = 8 * 2**20
# Larger files are read in chunks so small that they stay in a core's own cache while they are
# hashed and written, and that ext4 does not take them for large folios, whose making costs
# more: with 1 MiB the same takes up to twice as long (perf/chunks.py). And so many of them a
# step that a hop costs nothing, while others still get their turn every few hundredths of a
# second.
CHUNK_BYTES = 256 * 2**10
STEP_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _StagedFile:
    """What a job returns for a file: its record, and what the workspace needs of it."""

    stored: StoredFile | None
    move: Move | None = None
    mode: tuple[str, int] | None = None
    copied_bytes: int = 0
    """Of a file that is not stored."""


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

    async def plan(
        self, request: ArtifactRequest, ignore: Callable[[], IgnoreFilter]
    ) -> ArtifactPlan:
        """Look at what ``request.source`` holds; raises as ``make_plan`` does."""
        return await self._workers.run(
            partial(make_plan, request, self._store.layout.root, ignore, check_cancelled),
            bulk=False,
        )

    async def stage(self, plan: ArtifactPlan) -> StagedArtifact:
        """Copy and hash what the plan names.

        Raises:
            ArtifactChangedError: a file changed under the read.
            StorageError: reading or writing failed.

        Cancellation: nothing is left but cache objects nobody names.
        """
        job = _StageJob(plan, self._store)
        bulk = len(plan.files) > BATCH_FILES or plan.total_bytes > BATCH_BYTES
        try:
            if job.beside and plan.isdir:
                await self._workers.run(job.make_dirs, bulk=bulk)
            batches = await self._workers.run_all(job.steps(), bulk=bulk, on_result=self._count)
            if job.beside and plan.isdir:
                await self._workers.run(job.finish_dirs, bulk=bulk)
        except BaseException:
            await self._workers.run_to_end(job.discard)
            raise
        return job.result([staged for batch in batches for staged in batch])

    def _count(self, batch: list[_StagedFile]) -> None:
        self._counters.files_staged += len(batch)
        self._counters.bytes_staged += sum(
            file.stored.size if file.stored else file.copied_bytes for file in batch
        )

    async def discard(self, staged: StagedArtifact) -> None:
        """Take back a staged artifact that is not to be committed, or clear up after it."""
        if staged.placement is not None and staged.placement.moves:
            await self._workers.run_to_end(staged.placement.clear)


@dataclass(slots=True)
class _StageJob:
    """One artifact being staged. Its steps run in worker threads, several at once."""

    plan: ArtifactPlan
    store: ObjectStore
    beside: str = ""
    """Where the copy is built; empty when there is none."""
    made: list[str] = field(default_factory=list)
    """The files made for places in the workspace, each alone; empty where there is a copy."""
    unfinished: set[_LargeFile] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.plan.request.copy:
            self.beside = self.store.workspace_temp_path()

    def steps(self) -> Iterator[Callable[[], list[_StagedFile] | None]]:
        """What is to be run: large files first, so that none of them is left to the end."""
        request = self.plan.request
        if not request.cache and not request.copy:
            return
        files = [file for file in self.plan.files if file.tracked or request.copy]
        for file in files:
            if file.size > SMALL_BYTES:
                yield _LargeFile(self, file).step
        batch: list[PlannedFile] = []
        batch_bytes = 0
        for file in files:
            if file.size > SMALL_BYTES:
                continue
            batch.append(file)
            batch_bytes += file.size
            if len(batch) >= BATCH_FILES or batch_bytes >= BATCH_BYTES:
                yield partial(self._stage_batch, batch)
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self._stage_batch, batch)

    def result(self, staged: list[_StagedFile]) -> StagedArtifact:
        request = self.plan.request
        moves = [file.move for file in staged if file.move]
        modes = [file.mode for file in staged if file.mode]
        if self.beside:
            moves.append(Move(self.beside, request.path))
            modes += [(request.path, top.mode) for top in self.plan.dirs[:1]]
        tracked = list(self.plan.tracked)
        return StagedArtifact(
            request=request,
            isdir=self.plan.isdir,
            size=sum(file.size for file in tracked),
            nfiles=len(tracked),
            files=tuple(file.stored for file in staged if file.stored),
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
        for large in tuple(self.unfinished):
            large.discard()
        for path in (self.beside, *self.made):
            if path:
                remove_tree(path)

    def _stage_batch(self, batch: list[PlannedFile]) -> list[_StagedFile]:
        staged: list[_StagedFile] = []
        while len(staged) < len(batch):
            # One look for cancellation, and one block that translates errors, for some files:
            # for each of them they would cost as much as the file.
            check_cancelled()
            some = batch[len(staged) : len(staged) + CHECKED_FILES]
            with self.errors():
                staged += [self._stage_small(planned) for planned in some]
        return staged

    def _stage_small(self, planned: PlannedFile) -> _StagedFile:
        path = self.source(planned)
        fd = os.open(path, _READ)
        try:
            check_unchanged(fd, planned, path)
            data = _read(fd, planned.size + 1)
            check_unchanged(fd, planned, path, len(data))
        finally:
            os.close(fd)
        if not (planned.tracked and self.plan.request.cache):
            _write_copy(self.target(planned), data, planned)
            return _StagedFile(None, copied_bytes=planned.size)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        isnew = self.store.put(data, md5)
        return self.place(planned, md5, isnew, data)

    def place(self, planned: PlannedFile, md5: str, isnew: bool, data: bytes | None) -> _StagedFile:
        """Make the workspace's file from an object, or from ``data``, the same bytes."""
        layout, object_path = self.store.layout, self.store.object_path(md5)
        isdir, copied = self.plan.isdir, bool(self.beside)
        isexec = bool(planned.mode & 0o111)
        kind = link_type(
            layout, planned, copied=copied, isdir=isdir, object_path=object_path, isnew=isnew
        )
        stays = kind is None or (kind == "copy" and not planned.islink and planned.nlink == 1)
        if stays and not copied:
            # DVC makes a single file anew from the cache; these are the same bytes already.
            mode = layout.copy_mode | (0o100 if isexec else 0)
            changed = kind == "copy" and planned.mode != mode
            return _StagedFile(
                _stored(planned, md5, planned.inode, planned.mtime),
                mode=(self.source(planned), mode) if changed else None,
            )
        path = self.target(planned)
        if data is not None and copied and kind is None:
            now = _write_copy(path, data, planned)
            return _StagedFile(_stored(planned, md5, now.st_ino, now.st_mtime))
        if data is not None and copied and kind == "copy":
            _write_new(path, data)
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
        stored = _stored(planned, md5, now.st_ino, now.st_mtime)
        if copied:
            return _StagedFile(stored)
        there = os.lstat(self.source(planned))
        if not planned.islink and (there.st_ino, there.st_mtime_ns) != planned.marks:
            raise ArtifactChangedError(self.source(planned), "was replaced or written")
        return _StagedFile(
            stored, Move(path, self.source(planned), (there.st_ino, there.st_mtime_ns))
        )

    def copies_bytes(self, planned: PlannedFile) -> bool:
        """Whether a copy of the file will have bytes of its own, not be a link."""
        if not self.beside:
            return False
        if not (planned.tracked and self.plan.request.cache):
            return True
        types, links = self.store.layout.types, self.store.layout.links
        if not links:
            return True
        if self.plan.isdir:
            return types[0] != "hardlink" and ("copy" in types or "reflink" in types)
        return links[0] in ("copy", "reflink")

    def source(self, planned: PlannedFile) -> str:
        return _join(self.plan.request.source, planned.key)

    def target(self, planned: PlannedFile) -> str:
        """Where to make the workspace's file: in the copy, or alone beside its place."""
        if self.beside:
            return _join(self.beside, planned.key)
        path = self.store.workspace_temp_path()
        self.made.append(path)
        return path

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


@dataclass(eq=False, slots=True)
class _LargeFile:
    """One large file on its way into the cache, a step at a time.

    Each chunk is read once, hashed, and written to the temp file and to the workspace's copy:
    what was hashed is what was stored. Where the file system shares blocks, the temp file is a
    clone and the hash is taken from it, so that nothing is written at all.
    """

    job: _StageJob
    planned: PlannedFile
    md5: hashlib._Hash = field(init=False)
    source_fd: int = -1
    temp_fd: int = -1
    copy_fd: int = -1
    temp: str = ""
    read_fd: int = -1
    """Where the chunks come from; -1: none are needed."""
    write_fds: tuple[int, ...] = ()
    """Where they go."""
    read_bytes: int = 0
    cloned_bytes: int = 0

    def step(self) -> list[_StagedFile] | None:
        try:
            with self.job.errors():
                if self.source_fd < 0:
                    self._open()
                if not self._read_step() or not self._clone_step():
                    return None
                staged = self._finish()
        except BaseException:
            self.discard()
            raise
        self.discard()
        return [staged]

    def _open(self) -> None:
        self.job.unfinished.add(self)
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.source_fd = os.open(self.job.source(self.planned), _READ)
        self._check_unchanged()
        shares_blocks = self.job.store.layout.shares_blocks
        if self.planned.tracked and self.job.plan.request.cache:
            temp = self.job.store.temp_path()
            self.temp_fd = create(temp)
            self.temp = temp
            if shares_blocks and clone(self.source_fd, self.temp_fd):
                self._check_unchanged()
                self.read_fd = self.temp_fd
            else:
                self.read_fd = self.source_fd
                self.write_fds = (self.temp_fd,)
        if self.job.copies_bytes(self.planned):
            self.copy_fd = create(self.job.target(self.planned))
            if not shares_blocks:
                self.read_fd = self.source_fd
                self.write_fds += (self.copy_fd,)

    def _read_step(self) -> bool:
        """Hash and store the next bytes; whether all are."""
        if self.read_fd < 0 or self.read_bytes == self.planned.size:
            return True
        end = min(self.read_bytes + STEP_BYTES, self.planned.size)
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while self.read_bytes < end:
            check_cancelled()
            count = read_into(self.read_fd, buffer)
            if not count:
                break
            chunk = buffer[:count]
            if self.temp_fd >= 0:
                self.md5.update(chunk)
            for fd in self.write_fds:
                write_all(fd, chunk)
            self.read_bytes += count
        if self.read_bytes < end or end == self.planned.size:
            self._check_unchanged(self.read_bytes)
        return self.read_bytes == self.planned.size

    def _clone_step(self) -> bool:
        """Where blocks are shared, clone the next ones for the workspace; whether all are."""
        if self.copy_fd < 0 or self.copy_fd in self.write_fds:
            return True
        from_fd = self.temp_fd if self.temp_fd >= 0 else self.source_fd
        check_cancelled()
        count = copy_step(from_fd, self.copy_fd, self.cloned_bytes)
        self.cloned_bytes += count
        if count and self.cloned_bytes < self.planned.size:
            return False
        if self.temp_fd < 0:
            self._check_unchanged(self.cloned_bytes)
        return True

    def _check_unchanged(self, read: int | None = None) -> None:
        check_unchanged(self.source_fd, self.planned, self.job.source(self.planned), read)

    def _finish(self) -> _StagedFile:
        if self.temp_fd < 0:
            _keep_times(self.job.target(self.planned), self.planned)
            return _StagedFile(None, copied_bytes=self.planned.size)
        md5 = self.md5.hexdigest()
        os.close(self.temp_fd)
        self.temp_fd = -1
        isnew = self.job.store.publish(self.temp, md5, self.planned.size)
        self.temp = ""
        return self.job.place(self.planned, md5, isnew, None)

    def discard(self) -> None:
        """Close and remove what is open; once finished, there is nothing left to remove."""
        for fd in (self.source_fd, self.temp_fd, self.copy_fd):
            if fd >= 0:
                os.close(fd)
        self.source_fd = self.temp_fd = self.copy_fd = -1
        if self.temp:
            remove_file(self.temp)
            self.temp = ""
        self.job.unfinished.discard(self)


def check_unchanged(fd: int, planned: PlannedFile, path: str, read: int | None = None) -> None:
    """Raise ArtifactChangedError unless the open file is as planned, and was read whole."""
    now = os.fstat(fd)
    if (now.st_ino, now.st_mtime_ns) != planned.marks:
        raise ArtifactChangedError(path, "was replaced or written")
    if now.st_size != planned.size or (read is not None and read != planned.size):
        raise ArtifactChangedError(path, "grew or shrank")


def _stored(planned: PlannedFile, md5: str, inode: int, mtime: float) -> StoredFile:
    return StoredFile(
        key=planned.key,
        md5=md5,
        size=planned.size,
        isexec=bool(planned.mode & 0o111),
        inode=inode,
        mtime=mtime,
    )


def _read(fd: int, count: int) -> bytes:
    data = os.read(fd, count)
    while len(data) < count and (more := os.read(fd, count - len(data))):
        data += more
    return data


def _write_new(path: str, data: bytes) -> None:
    fd = create(path)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def _write_copy(path: str, data: bytes, planned: PlannedFile) -> os.stat_result:
    """Make a copy with the mode and mtime of its source; returns what it is then."""
    fd = create(path)
    try:
        write_all(fd, data)
        if os.utime in os.supports_fd:  # saves three ways along the path
            set_mode(fd, path, planned.mode)
            os.utime(fd, ns=(planned.mtime_ns, planned.mtime_ns))
            return os.fstat(fd)
    finally:
        os.close(fd)
    _keep_times(path, planned)
    return os.stat(path)


def _keep_times(path: str, planned: PlannedFile) -> None:
    """Leave a copy with the mode and mtime of its source, as ``shutil.copy2`` does."""
    os.chmod(path, planned.mode)
    os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns))


def _join(root: str, key: tuple[str, ...]) -> str:
    return os.sep.join((root, *key))


# O_NONBLOCK: a named pipe put in the place of a planned file must not hold the thread.
_READ = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


if hasattr(os, "readv"):

    def read_into(fd: int, buffer: memoryview) -> int:
        """Read the next bytes into ``buffer``; how many, 0 at the end."""
        return os.readv(fd, [buffer])

else:  # Windows

    def read_into(fd: int, buffer: memoryview) -> int:
        """Read the next bytes into ``buffer``; how many, 0 at the end."""
        data = os.read(fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)
