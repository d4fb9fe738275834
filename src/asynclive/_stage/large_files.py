"""The large files of one artifact: each is copied and hashed, and becomes an object of the cache.

If the caller waits only until the source's bytes are copied, a file is first copied into a
snapshot, and the snapshot is hashed afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import anyio

from .._artifact.plan import PlannedFile
from .._fs.change_detection import fingerprint_of
from .._ingest.copy_and_hash import CopyOptions, LargeFile, Task
from .._ingest.small_files import FileStager
from .._ingest.workspace_files import Batch, keep_times
from .._instrumentation.staging_progress import StagingProgress
from .step_runner import StepRunner


@dataclass(slots=True)
class LargeStager:
    """Stages the large files of one artifact concurrently, each a step at a time."""

    files: FileStager
    runner: StepRunner
    progress: StagingProgress
    options: CopyOptions
    temps: set[str] = field(default_factory=set)
    """Temp files that become objects."""
    snapshots: list[Snapshot] = field(default_factory=list)
    """Snapshots that are not hashed yet."""

    async def stage(self, planned: PlannedFile) -> Batch:
        """Copy and hash a file whose source must not change until this returns."""
        workspace = self.files.workspace
        md5, batch = await self._cached_hash(planned)
        temp = self._temp_path() if md5 is None and workspace.is_cached(planned) else None
        copy = workspace.new_path(planned) if workspace.copies_bytes(planned) else None
        if temp is None and copy is None:
            await self.runner.run(partial(self._place, planned, md5, batch))
            return batch
        task = Task.COPY if temp is None else Task.COPY_AND_HASH
        source = workspace.source_path(planned)
        large = LargeFile(planned, source, temp, copy, task, self.options)
        # If the caller waits for this file, it must not wait for a background file's slot.
        workers = self.runner.workers
        slots = workers.snapshots if workspace.releases_source else workers.large_files
        await self._transfer(large, planned, md5, batch, slots)
        return batch

    async def snapshot(self, planned: PlannedFile) -> Batch:
        """Copy a file whose source may change once this returns.

        One of ``remaining_steps`` does the rest.
        """
        md5, batch = await self._cached_hash(planned)
        if md5 is not None:  # the object is the snapshot: it does not change
            path = self.files.workspace.store.object_path(md5)
            snapshot = await self.runner.run(partial(with_marks_of, path, planned))
            self.snapshots.append(Snapshot(planned, path, snapshot, md5))
            self.progress.count(-1, -_second_half(planned))
            return batch
        temp = self._temp_path()
        source = self.files.workspace.source_path(planned)
        large = LargeFile(planned, source, temp, None, Task.SNAPSHOT, self.options, passes=2)
        workers = self.runner.workers
        async with workers.snapshots:
            with self.progress.in_work(large):
                try:
                    snapshot = await large.snapshot(self.runner.run_first)
                    if large.has_writer:
                        batch.doubtful.append(planned.key)
                except BaseException:
                    await workers.run_to_end(large.close)
                    raise
        self.snapshots.append(Snapshot(planned, temp, snapshot))
        # The caller of this counts the whole file; its second half is done later.
        self.progress.count(-1, -_second_half(planned))
        return batch

    def remaining_steps(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """Return the jobs to run after the source was released: one for each snapshot."""
        for snapshot in self.snapshots:
            yield partial(self._finish_snapshot, snapshot)

    async def _finish_snapshot(self, snapshot: Snapshot) -> Batch:
        """Hash a snapshot, make it an object, and make what the workspace gets."""
        planned, path, md5 = snapshot.planned, snapshot.path, snapshot.md5
        batch, workspace = Batch(), self.files.workspace
        copy = workspace.new_path(planned) if workspace.copies_bytes(planned) else None
        if md5 is not None and copy is None:
            await self.runner.run(partial(self._place, planned, md5, batch))
        else:
            task = Task.HASH_SNAPSHOT if md5 is None else Task.COPY
            large = LargeFile(snapshot.as_source, path, None, copy, task, self.options, passes=2)
            slots = self.runner.workers.large_files
            await self._transfer(large, planned, md5, batch, slots)
        self.progress.count(1, _second_half(planned))
        return batch

    async def _cached_hash(self, planned: PlannedFile) -> tuple[str | None, Batch]:
        """Return the cached MD5, if the file is unchanged, and a batch that counts the file."""
        md5 = None
        # A file that is ignored now may have been stored before.
        if self.files.workspace.is_cached(planned) and self.files.known.lookup(planned) is not None:
            md5 = await self.runner.run(partial(self.files.known_md5, planned))
        batch = Batch()
        batch.count(planned, unchanged=md5 is not None)
        return md5, batch

    def _temp_path(self) -> str:
        temp = self.files.workspace.store.temp_path()
        self.temps.add(temp)
        return temp

    async def _transfer(
        self,
        large: LargeFile,
        planned: PlannedFile,
        md5: str | None,
        batch: Batch,
        slots: anyio.CapacityLimiter,
    ) -> None:
        """Copy and hash the file, publish the object, and make what the workspace gets.

        Args:
            large: the file.
            planned: the file as it was planned, also where a snapshot of it is copied.
            md5: the MD5 if it is known.
            batch: gets the result.
            slots: limits how many files are in progress.
        """
        async with slots:
            with self.progress.in_work(large):
                try:
                    hashed = await large.transfer(self.runner.run_yielding)
                    finish = partial(self._finish_large, large, planned, md5 or hashed, batch)
                    await self.runner.run(finish)
                except BaseException:
                    await self.runner.workers.run_to_end(large.close)
                    raise

    def _finish_large(
        self, large: LargeFile, planned: PlannedFile, md5: str | None, batch: Batch
    ) -> None:
        large.close()
        if large.has_writer:
            batch.doubtful.append(planned.key)
        isnew = False
        if large.new_object is not None:
            assert md5 is not None
            isnew = self.files.workspace.store.publish(large.new_object, md5, planned.size)
            self.temps.discard(large.new_object)
        if large.copy is not None and md5 is None:
            keep_times(large.copy, planned)
        else:
            self._place(planned, md5, batch, isnew=isnew)

    def _place(
        self, planned: PlannedFile, md5: str | None, batch: Batch, *, isnew: bool = False
    ) -> None:
        assert md5 is not None  # hashed, or known
        self.files.workspace.place(planned, md5, isnew, None, batch)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The bytes of one large file, in a file that no other program writes to."""

    planned: PlannedFile
    """The source when it was planned."""
    path: str
    as_source: PlannedFile
    """``planned`` with the inode and mtime of the file at ``path``."""
    md5: str | None = None
    """The MD5 if it is known: ``path`` is then the object. None: it must be hashed."""


def with_marks_of(path: str, planned: PlannedFile) -> PlannedFile:
    """Return ``planned`` with the inode and mtime of the file at ``path``, which has its bytes."""
    inode, mtime_ns = fingerprint_of(os.stat(path))
    return planned._replace(inode=inode, mtime_ns=mtime_ns)


def _second_half(planned: PlannedFile) -> int:
    """Return how many bytes of a file with a snapshot count as done only once it is hashed."""
    return planned.size - planned.size // 2
