"""The large files of one artifact: each is copied and hashed, and becomes an object.

Where its caller waits only until the bytes are taken, a file is copied first, into a snapshot,
and hashed afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import anyio

from .._artifact.plan import PlannedFile
from .._cache.object_store import ObjectStore
from .._fs.change_detection import fingerprint_of
from .._fs.free_space import DiskSpace
from .._ingest.copy_and_hash import LargeFile
from .._ingest.small_files import Batch, FileStager, keep_times
from .._instrumentation.staging_progress import StagingProgress
from .._workers.file_workers import FileWorkers, StepRunner

pass

T = TypeVar("T")


@dataclass(slots=True)
class LargeStager:
    """Stages them side by side, each a step at a time in worker threads."""

    files: FileStager
    store: ObjectStore
    workers: FileWorkers
    space: DiskSpace
    progress: StagingProgress
    runner: StepRunner
    temps: set[str] = field(default_factory=set)
    """Objects in the making."""
    snapshots: list[Snapshot] = field(default_factory=list)
    """Of files which are still to be hashed; where the source is not waited for."""

    async def stage(self, planned: PlannedFile) -> Batch:
        """Copy and hash a file, whose source stays as it is until then."""
        files = self.files
        md5, batch = await self._known(planned)
        temp = self._temp_path() if md5 is None and files.is_cached(planned) else None
        copy = files.target(planned) if files.copies_bytes(planned) else None
        if temp is None and copy is None:
            await self._run_explained(partial(self._place, planned, md5, batch))
            return batch
        large = self._large_file(planned, files.source(planned), temp, copy)
        # Where its caller waits for it, it must not wait for what stands back and keeps its place.
        first = self.files.keeps_newer
        places = self.workers.snapshots if first else self.workers.large_files
        await self._transfer(large, planned, temp, md5, batch, places)
        return batch

    async def take(self, planned: PlannedFile) -> Batch:
        """Copy a file, for its source is about to change; the rest is done afterwards."""
        md5, batch = await self._known(planned)
        if md5 is not None:  # its object does not change
            path = self.store.object_path(md5)
            taken = await self._run_explained(partial(as_planned, planned, path))
            self.snapshots.append(Snapshot(planned, path, taken, md5))
            self.progress.count(-1, -_bytes_left(planned))
            return batch
        temp = self._temp_path()
        large = self._large_file(planned, self.files.source(planned), temp, None, passes=2)
        async with self.workers.snapshots:
            with self.progress.in_work(large):
                try:
                    taken = await large.snapshot(self._run_first)
                except BaseException:
                    await self.workers.run_to_end(large.close)
                    raise
        self.snapshots.append(Snapshot(planned, temp, taken))
        # What is counted next is taken, and no more.
        self.progress.count(-1, -_bytes_left(planned))
        return batch

    def left(self) -> Iterator[Callable[[], Awaitable[Batch]]]:
        """What is to be run once the source is no longer needed."""
        for snapshot in self.snapshots:
            yield partial(self._finish_snapshot, snapshot)

    async def _finish_snapshot(self, snapshot: Snapshot) -> Batch:
        """Hash it, make its object, and what the workspace gets."""
        planned, path, md5 = snapshot.planned, snapshot.path, snapshot.md5
        batch, files = Batch(), self.files
        temp = path if md5 is None else None
        copy = files.target(planned) if files.copies_bytes(planned) else None
        if md5 is not None and copy is None:
            await self._run_explained(partial(self._place, planned, md5, batch))
        else:
            large = self._large_file(
                snapshot.taken, path, None, copy, is_snapshot=md5 is None, passes=2
            )
            places = self.workers.large_files
            await self._transfer(large, planned, temp, md5, batch, places)
        self.progress.count(1, _bytes_left(planned))
        return batch

    async def _known(self, planned: PlannedFile) -> tuple[str | None, Batch]:
        md5 = None
        if self.files.known.lookup(planned) is not None:
            md5 = await self.runner.run(partial(self.files.known_md5, planned))
        batch = Batch()
        batch.count(planned, unchanged=md5 is not None)
        return md5, batch

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
        passes: int = 1,
    ) -> LargeFile:
        clones, sync = self.store.layout.uses_reflinks, self.store.layout.sync
        is_asked = self.runner.is_asked
        return LargeFile(
            planned, source, temp, copy, clones, self.space, sync, is_snapshot, passes, is_asked
        )

    async def _transfer(
        self,
        large: LargeFile,
        planned: PlannedFile,
        temp: str | None,
        md5: str | None,
        batch: Batch,
        places: anyio.CapacityLimiter,
    ) -> None:
        """Copy and hash what is to be, and put all of it where it belongs.

        Args:
            temp: what becomes the object; None: there is one, or none is made.
            md5: where it is known.
            places: bounds how many are in the making.
        """
        async with places:
            with self.progress.in_work(large):
                try:
                    hashed = await large.transfer(self._run_behind)
                    finish = partial(self._finish_large, large, planned, temp, md5 or hashed, batch)
                    await self._run_explained(finish)
                except BaseException:
                    await self.workers.run_to_end(large.close)
                    raise

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

    async def _run_explained(self, step: Callable[[], T]) -> T:
        return await self.runner.run(partial(self.files.explained, step))

    async def _run_behind(self, step: Callable[[], T]) -> T:
        return await self.runner.run_behind(partial(self.files.explained, step))

    async def _run_first(self, step: Callable[[], T]) -> T:
        """Run what a caller waits for, ahead of what nobody does."""
        return await self.workers.run(partial(self.files.explained, step), bulk=False)


def _bytes_left(planned: PlannedFile) -> int:
    """Of a file that is taken: half of the way is behind it."""
    return planned.size - planned.size // 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The bytes of one large file, in a file that nobody else writes to."""

    planned: PlannedFile
    """The source, as it was."""
    path: str
    taken: PlannedFile
    """The same file, with the marks of the one at ``path``."""
    md5: str | None = None
    """Where it is known, ``path`` being its object; None: it is still to be hashed."""


def as_planned(planned: PlannedFile, path: str) -> PlannedFile:
    """The file, with the marks of another one that holds its bytes."""
    inode, mtime_ns = fingerprint_of(os.stat(path))
    return planned._replace(inode=inode, mtime_ns=mtime_ns)
