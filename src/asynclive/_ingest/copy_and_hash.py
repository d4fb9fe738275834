"""One large file on its way into the cache: one thread copies it, another hashes what is copied.

MD5 cannot be split within a file, so the hash of a large one takes a core for as long as it
takes. Where the caller waits for all of it, all copying is hidden behind it: the kernel copies the
next part into the temp file, and from there into the workspace's copy, while the part before is
hashed. The hash is taken from the temp file: what was hashed is what was stored. Where the file
system shares blocks, nothing is copied, and only the hash is left.

Where the caller goes on once the source may be overwritten, the temp file is a snapshot: it is
copied first, as fast as that goes, and hashed, and copied into the workspace, afterwards.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
from anyio import from_thread

from .._artifact.plan import PlannedFile, check_unchanged
from .._errors import ArtifactChangedError
from .._fs.file_io import READ, create
from .._fs.free_space import DiskSpace, Reservation
from .._fs.fsync import NO_SYNC, Sync
from .._fs.kernel_copy import clone, copy_step, read_at
from .._workers.bounded_gather import run_together
from .._workers.os_priority import shares_interpreter

# What one hop to a thread does: long enough that the hop costs nothing, short enough that
# others get their turn every few hundredths of a second.
STEP_BYTES = 8 * 2**20
# The same, of a snapshot: somebody waits for it, and a hop may take as long as a step above where
# all cores are at work.
SNAPSHOT_STEP_BYTES = 64 * 2**20
# How far copying may run ahead of hashing. Where memory is slow to be had for the first time, it is
# slower than hashing for a while, and faster before and after. So little that what is hashed need
# not be read from the disk again.
LEAD_BYTES = 64 * STEP_BYTES
# The same of the disk, where that is waited for: who cancels does not wait long for it.
DISK_LEAD_BYTES = 4 * STEP_BYTES
# A chunk stays in a core's own cache between its two copies, and ext4 does not take it for a
# large folio, whose making costs more (perf/chunks.py). Cancellation is looked for once a chunk.
CHUNK_BYTES = 256 * 2**10
# So many chunks are hashed, or copied once, at a time, where a training loop in Python needs the
# same interpreter: each time the thread needs it again, the loop has to wait (perf/stall.py).
# Elsewhere it is one, for which nobody waits long: Linux, as it is often built, does not interrupt
# a copy, however slowly its memory is to be had (perf/beside_large.py).
CHUNKS_AT_ONCE = 8
# So many steps of a snapshot are hashed in a hop, which costs the event loop about as much.
STEPS_AT_ONCE = 4

# The clock of a file system that shares blocks moves on within this.
_TICK_NS = 50_000_000

Run = Callable[[Callable[[], bool]], Awaitable[bool]]
"""Runs a function in a worker thread."""


@dataclass(eq=False, slots=True)
class LargeFile:
    """Copies and hashes one file, a step at a time.

    Between two steps the files stay open: what a saver puts in the place of the source meanwhile
    is another file, and what was planned is still read whole.
    """

    planned: PlannedFile
    source: str
    temp: str | None
    """The new file that becomes the object; None: no object is made."""
    copy: str | None
    """The new file that becomes the workspace's copy; None: there is none."""
    clones: bool
    """The file system can share blocks: try that first."""
    space: DiskSpace
    sync: Sync = NO_SYNC
    """What waits for the disk."""
    is_snapshot: bool = False
    """The source is a snapshot, and is hashed itself: ``temp`` is None."""
    passes: int = 1
    """In how many passes the file gets done, of which this is one: taken first, 2."""
    is_asked: Callable[[], bool] = lambda: False
    """Whether somebody asks for the thread: a step ends early then."""
    md5: Any = field(init=False)
    _copied_bytes: int = 0
    _hashed_bytes: int = 0
    _synced_bytes: int = 0
    _fds: list[int] = field(default_factory=list)
    """Source, temp, copy."""
    _reservation: Reservation | None = None
    _cloned: bool = False
    _hashes_source: bool = False
    _takes: bool = False
    """Only copies for now."""
    _taken: PlannedFile | None = None
    _advanced: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._hashes_source = self.is_snapshot

    @property
    def _hashes(self) -> bool:
        return self.temp is not None or self.is_snapshot

    async def snapshot(self, run: Run) -> PlannedFile:
        """Make ``temp`` alone, and hash nothing yet; returns it as a source of its own.

        Raises as ``transfer`` does, and is cancelled like it. Without an error, the files are
        closed.
        """
        self._takes = True
        try:
            while not await run(self._take_step):
                pass
        finally:
            self._release()
        assert self._taken is not None
        return self._taken

    def _take_step(self) -> bool:
        """Copy the next bytes; whether all are, and the files closed."""
        if not self._copy_step(SNAPSHOT_STEP_BYTES):
            return False
        found = os.fstat(self._fds[1])
        self._taken = self.planned._replace(inode=found.st_ino, mtime_ns=found.st_mtime_ns)
        self.close()
        return True

    async def transfer(self, run: Run) -> str | None:
        """Make ``temp`` and ``copy``; returns the MD5 of what is in ``temp``, or in the snapshot.

        Raises:
            ArtifactChangedError: the source changed since it was planned, or meanwhile.
            OSError: reading or writing failed, or it is sure that the files will not fit.

        Cancellation: takes effect within a chunk; both files are left to the caller, as is
            ``close``, whatever the outcome.
        """
        loops = [partial(self._copy_all, run)]
        if self._hashes:
            loops.append(partial(self._hash_all, run))
        if self.sync.is_enabled:
            loops.append(partial(self._sync_all, run))
        try:
            await run_together(loops, len(loops))
        finally:
            self._release()
        return self.md5.hexdigest() if self._hashes else None

    def _release(self) -> None:
        if self._reservation is not None:
            self.space.release(self._reservation)

    def close(self) -> None:
        """Close the files, once or more often. Blocking.

        It frees the source, if that has lost its name meanwhile.
        """
        while self._fds:
            os.close(self._fds.pop())

    async def _copy_all(self, run: Run) -> None:
        while not await run(partial(self._copy_step, STEP_BYTES)):
            self._advance()
            while self._is_far_ahead:
                await self._advanced.wait()
        self._advance()

    @property
    def _is_far_ahead(self) -> bool:
        unhashed = self._copied_bytes - self._hashed_bytes if self._hashes else 0
        unsynced = self._copied_bytes - self._synced_bytes if self.sync.is_enabled else 0
        return unhashed > LEAD_BYTES or unsynced > DISK_LEAD_BYTES

    @property
    def done_bytes(self) -> int:
        """How far it is, for who looks on; from any thread."""
        return (self._copied_bytes if self._takes else self._followed_bytes) // self.passes

    @property
    def _followed_bytes(self) -> int:
        """How far all who follow the copying have come."""
        hashed = self._hashed_bytes if self._hashes else self._copied_bytes
        return min(hashed, self._synced_bytes) if self.sync.is_enabled else hashed

    async def _sync_all(self, run: Run) -> None:
        """Bring the bytes onto the disk while others are copied.

        What is left to do when the file is whole is little, and so it can be cancelled until then.
        """
        while self._synced_bytes < self.planned.size:
            if self._synced_bytes == self._copied_bytes:
                await self._advanced.wait()
            else:
                await run(self._sync_step)
                self._advance()

    async def _hash_all(self, run: Run) -> None:
        while self._hashed_bytes < self.planned.size:
            if self._hashed_bytes == self._copied_bytes:
                await self._advanced.wait()
            else:
                await run(self._hash_step)
                self._advance()

    def _advance(self) -> None:
        self._advanced.set()
        self._advanced = anyio.Event()

    def _copy_step(self, step_bytes: int) -> bool:
        """Copy the next bytes; whether all are."""
        if not self._fds:
            self._open()
        assert self._reservation is not None
        if len(self._fds) == 1:  # a snapshot of which no copy is wanted
            self._copied_bytes = self.planned.size
            return True
        source_fd, first_fd, *more_fds = self._fds
        end = min(self._copied_bytes + step_bytes, self.planned.size)
        chunk_bytes = CHUNK_BYTES if more_fds else _most_at_once()
        while self._copied_bytes < end:
            from_thread.check_cancelled()
            count = min(chunk_bytes, end - self._copied_bytes)
            copied = copy_step(source_fd, first_fd, self._copied_bytes, count)
            if not copied:
                raise ArtifactChangedError(self.source, "grew or shrank")
            # Where blocks are shared the copy is made at the end, as a clone.
            for fd in () if self.clones else more_fds:
                _copy_range(first_fd, fd, self._copied_bytes, copied)
            self._copied_bytes += copied
            if not self._takes and self.is_asked():
                break
        self._reservation.remaining_bytes = self.planned.size - self._copied_bytes
        check_unchanged(os.fstat(source_fd), self.planned, self.source)
        done = self._copied_bytes == self.planned.size
        if done and self.clones and not self._cloned:
            for fd in more_fds:
                if not clone(first_fd, fd):
                    _copy_range(first_fd, fd, 0, self.planned.size)
        return done

    def _open(self) -> None:
        self._fds.append(os.open(self.source, READ))
        check_unchanged(os.fstat(self._fds[0]), self.planned, self.source)
        paths = [path for path in (self.temp, self.copy) if path is not None]
        for path in paths:  # one by one: the next may fail
            self._fds.append(create(path))
        if self.clones:
            self._cloned = all(clone(one, other) for one, other in pairwise(self._fds))
        if self._cloned:
            self._copied_bytes = self.planned.size
            # A write from now on moves the mtime. So as long as that stays, the source holds what
            # the clone holds, and it is the one in the page cache.
            settled = self.planned.mtime_ns < time.time_ns() - _TICK_NS
            self._hashes_source = self.is_snapshot or settled
            paths = []
        # Where blocks are shared only the first is written.
        self._reservation = self.space.reserve(
            paths[:1] if self.clones else paths, self.planned.size
        )

    def _sync_step(self) -> bool:
        copied_bytes = self._copied_bytes
        for fd in self._fds[0 if self.is_snapshot else 1 :]:
            from_thread.check_cancelled()
            self.sync.data(fd)
        self._synced_bytes = copied_bytes
        return True

    def _hash_step(self) -> bool:
        """Hash the next of the bytes that are copied."""
        step_bytes = STEPS_AT_ONCE * STEP_BYTES if self.is_snapshot else STEP_BYTES
        end = min(self._hashed_bytes + step_bytes, self._copied_bytes)
        buffer = _memory.of(_most_at_once())
        fd = self._fds[0 if self._hashes_source else 1]
        path = self.temp or self.source
        while self._hashed_bytes < end:
            from_thread.check_cancelled()
            wanted = buffer[: end - self._hashed_bytes]
            count = read_at(fd, path, wanted, self._hashed_bytes)
            if not count:
                raise ArtifactChangedError(self.source, "grew or shrank")
            self.md5.update(buffer[:count])
            self._hashed_bytes += count
            if self.is_asked():
                break
        if self._hashes_source:
            check_unchanged(os.fstat(fd), self.planned, self.source)
        return True


class _Memory(threading.local):
    """What a thread reads into: new memory would be zeroed each time, and hold the interpreter."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def of(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]


_memory = _Memory()


def _most_at_once() -> int:
    """So many bytes are hashed, or copied once, before others may have the processor."""
    return CHUNK_BYTES * (CHUNKS_AT_ONCE if shares_interpreter() else 1)


def _copy_range(source_fd: int, target_fd: int, offset: int, count: int) -> None:
    end = offset + count
    while offset < end:
        from_thread.check_cancelled()
        offset += copy_step(source_fd, target_fd, offset, min(CHUNK_BYTES, end - offset))
