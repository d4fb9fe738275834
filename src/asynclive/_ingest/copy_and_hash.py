"""Copies and hashes one large file: one thread copies it, another hashes the bytes copied so far.

MD5 cannot be split within a file, so hashing a large file takes one core for its whole length. All
copying is hidden behind that. The kernel copies the next part into the temp file, and from there
into the workspace's copy, while the previous part is hashed. The hash is taken from the temp file,
so the bytes that were hashed are the bytes that are stored. Where the file system shares blocks,
nothing is copied, and only the hash remains.

If the caller waits only until it may overwrite the source, the temp file is a snapshot. It is
copied first, as fast as possible. It is hashed, and copied into the workspace, afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
from anyio import from_thread

from .._artifact.plan import PlannedFile, check_unchanged
from .._errors import ArtifactChangedError
from .._fs.change_detection import has_writer
from .._fs.file_io import READ, create
from .._fs.free_space import DiskSpace, Reservation
from .._fs.fsync import Sync
from .._fs.kernel_copy import (
    check_size,
    clone,
    copy_step,
    data_bytes,
    has_holes,
    make_hole,
    next_data,
    read_at,
)
from .._workers.bounded_gather import run_together

# Bytes of one step, which is one hop to a thread: enough that the hop costs nothing, and few
# enough that other artifacts get the thread every few hundredths of a second.
STEP_BYTES = 8 * 2**20
# Bytes of one step of a snapshot. A caller waits for it, and where all cores are busy, a hop may
# take as long as a step of STEP_BYTES.
SNAPSHOT_STEP_BYTES = 64 * 2**20
# The most bytes that copying may be ahead of hashing. Where memory is slow to get at first, copying
# is slower than hashing for a while, and faster before and after. With this little, the bytes to
# hash need not be read from the disk again.
LEAD_BYTES = 64 * STEP_BYTES
# The most bytes that copying may be ahead of fsync: a cancelled call waits for the rest of it.
DISK_LEAD_BYTES = 4 * STEP_BYTES
# A chunk stays in a core's own cache between its two copies, and ext4 does not put it into a large
# folio, which costs more to make (perf/benches/chunk_size.py). Cancellation is checked before
# each chunk.
CHUNK_BYTES = 256 * 2**10
# Steps of a snapshot that are hashed in one hop, which costs the event loop about as much as one.
STEPS_AT_ONCE = 4

# The tick of the clock that file systems with shared blocks use is at most this long.
_TICK_NS = 50_000_000

Run = Callable[[Callable[[], bool]], Awaitable[bool]]
"""Runs a function in a worker thread."""


class Task(Enum):
    """The work on the bytes of the source."""

    COPY_AND_HASH = "copy and hash"
    """Copy the source into ``temp``, and from there into ``copy``; hash ``temp``."""
    COPY = "copy"
    """Copy the source into ``copy``: its hash is known, or not needed."""
    SNAPSHOT = "snapshot"
    """Copy the source into ``temp``; a second LargeFile hashes it."""
    HASH_SNAPSHOT = "hash snapshot"
    """The source is a snapshot: hash it, and copy it into ``copy``."""


class _Copying(Enum):
    """How the bytes get into the new files."""

    WRITE = "write"
    """They are written into each of them."""
    WRITE_ONCE = "write once"
    """They are written into the first one; the second one is cloned from it at the end."""
    CLONED = "cloned"
    """All new files share the blocks of the source: nothing is written."""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How the large files of one artifact are copied and hashed."""

    uses_reflinks: bool
    """Whether the file system can share blocks between files: cloning is tried first."""
    space: DiskSpace
    """Reserves the space of files in progress."""
    sync: Sync
    """Waits for the disk, or does nothing."""
    chunks_at_once: int
    """Chunks that are hashed, or copied once, in one call that releases the GIL."""
    should_yield: Callable[[], bool]
    """Returns whether a small artifact needs the thread: the step then ends early."""


# The positions in ``LargeFile._fds``.
_SOURCE, _TEMP = 0, 1


@dataclass(eq=False, slots=True)
class LargeFile:
    """Copies and hashes one file, a step at a time.

    The files stay open between two steps. A file that replaces the source in between is another
    file, so the planned file is still read as a whole.
    """

    planned: PlannedFile
    source: str
    temp: str | None
    """The path of the new file that becomes the object; None: no object is made."""
    copy: str | None
    """The path of the new file that becomes the workspace's copy; None: there is none."""
    task: Task
    options: CopyOptions
    passes: int = 1
    """In how many passes, each of them a LargeFile, the bytes are done: 2 with a snapshot."""
    _md5: Any = field(init=False)
    _copied_bytes: int = 0
    _hashed_bytes: int = 0
    _synced_bytes: int = 0
    _copying: _Copying = _Copying.WRITE
    _has_holes: bool = False
    """Whether the source has holes, which the new files keep."""
    _fds: list[int] = field(default_factory=list)
    """Of the source, the temp file and the copy, as far as they exist and are open."""
    _hashed_fd: int = field(init=False)
    """Which of ``_fds`` is hashed."""
    has_writer: bool = False
    """Whether a process had the source open for writing when it was opened here."""
    _reservation: Reservation | None = None
    _snapshot: PlannedFile | None = None
    _advanced: anyio.Event = field(default_factory=anyio.Event)
    """Set, and replaced, when any of the counts of bytes has grown."""

    def __post_init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed_fd = _SOURCE if self.task is Task.HASH_SNAPSHOT else _TEMP

    @property
    def _hashes(self) -> bool:
        return self.task in (Task.COPY_AND_HASH, Task.HASH_SNAPSHOT)

    @property
    def new_object(self) -> str | None:
        """The file that holds the hashed bytes and becomes the object; None: there is none."""
        return self.source if self.task is Task.HASH_SNAPSHOT else self.temp

    async def snapshot(self, run: Run) -> PlannedFile:
        """Copy the source into ``temp`` and return the copy as a source of its own.

        If this raises no error, the files are closed.

        Raises:
            ArtifactChangedError, OSError: as ``transfer`` does.

        Cancellation: as of ``transfer``.
        """
        try:
            while not await run(self._snapshot_step):
                pass
        finally:
            self._release()
        assert self._snapshot is not None
        return self._snapshot

    def _snapshot_step(self) -> bool:
        """Copy the next bytes. Return whether all are copied and the files closed."""
        if not self._copy_step(SNAPSHOT_STEP_BYTES):
            return False
        found = os.fstat(self._fds[_TEMP])
        self._snapshot = self.planned._replace(inode=found.st_ino, mtime_ns=found.st_mtime_ns)
        self.close()
        return True

    async def transfer(self, run: Run) -> str | None:
        """Make ``temp`` and ``copy``, and return the MD5; None if the task does not hash.

        Raises:
            ArtifactChangedError: the source has changed since it was planned.
            OSError: reading or writing failed, or the files are sure not to fit.

        Cancellation: takes effect within a chunk. The caller must call ``close`` and remove both
            files, whatever the outcome.
        """
        loops = [partial(self._copy_all, run)]
        if self._hashes:
            loops.append(partial(self._hash_all, run))
        if self.options.sync.is_enabled:
            loops.append(partial(self._sync_all, run))
        try:
            await run_together(loops, len(loops))
        finally:
            self._release()
        return self._md5.hexdigest() if self._hashes else None

    def _release(self) -> None:
        if self._reservation is not None:
            self.options.space.release(self._reservation)

    def close(self) -> None:
        """Close the files; may be called more than once. Blocks.

        If the source has lost its name, this frees its blocks, which may take long.
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
        unsynced = self._copied_bytes - self._synced_bytes if self.options.sync.is_enabled else 0
        return unhashed > LEAD_BYTES or unsynced > DISK_LEAD_BYTES

    @property
    def done_bytes(self) -> int:
        """How many bytes of the file count as done, for its progress. Thread-safe."""
        is_snapshot = self.task is Task.SNAPSHOT
        return (self._copied_bytes if is_snapshot else self._finished_bytes) // self.passes

    @property
    def _finished_bytes(self) -> int:
        """How many bytes are copied, hashed and on the disk, as far as each is needed."""
        hashed = self._hashed_bytes if self._hashes else self._copied_bytes
        return min(hashed, self._synced_bytes) if self.options.sync.is_enabled else hashed

    async def _sync_all(self, run: Run) -> None:
        """Bring the bytes onto the disk while the next ones are copied.

        Little remains to sync when the file is whole, so the call can be cancelled until then.
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
        """Copy the next bytes. Return whether all are copied."""
        if not self._fds:
            self._open()
        assert self._reservation is not None
        if len(self._fds) == 1:  # a snapshot of which no copy is made
            self._copied_bytes = self.planned.size
            return True
        source_fd, first_fd, *more_fds = self._fds
        end = min(self._copied_bytes + step_bytes, self.planned.size)
        # With two new files, one chunk at a time: the second is copied from the core's cache.
        chunk_bytes = CHUNK_BYTES if more_fds else self._bytes_at_once
        written_fds = more_fds if self._copying is _Copying.WRITE else ()
        while self._copied_bytes < end:
            from_thread.check_cancelled()
            count = min(chunk_bytes, end - self._copied_bytes)
            if self._has_holes:
                start, stop = next_data(source_fd, self._copied_bytes, self.planned.size)
                self._copied_bytes = start
                count = min(count, stop - start)
                if not count:
                    break  # a hole up to the end
            copied = copy_step(source_fd, first_fd, self._copied_bytes, count)
            if not copied:
                raise ArtifactChangedError(self.source, "grew or shrank")
            for fd in written_fds:
                _copy_range(first_fd, fd, self._copied_bytes, copied)
            self._copied_bytes += copied
            self._reservation.remaining_bytes -= copied
            if self.task is not Task.SNAPSHOT and self.options.should_yield():
                break
        check_unchanged(os.fstat(source_fd), self.planned, self.source)
        done = self._copied_bytes == self.planned.size
        if done and self._copying is _Copying.WRITE_ONCE:
            for fd in more_fds:
                if not clone(first_fd, fd):
                    self._copy_all_data(first_fd, fd)
        if done:
            for fd, path in zip((first_fd, *more_fds), self._new_paths, strict=True):
                check_size(fd, path, self.planned.size)
        return done

    @property
    def _new_paths(self) -> list[str]:
        """The new files, in the order of their descriptors."""
        return [path for path in (self.temp, self.copy) if path is not None]

    def _open(self) -> None:
        """Open the source, make the new files, and clone them if the file system can."""
        self._fds.append(os.open(self.source, READ))
        self.has_writer = has_writer(self._fds[_SOURCE])
        found = os.fstat(self._fds[_SOURCE])
        check_unchanged(found, self.planned, self.source)
        written = self._new_paths
        for path in written:  # one by one, so that `close` finds those made before an error
            self._fds.append(create(path))
        if self.options.uses_reflinks:
            if all(clone(one, other) for one, other in pairwise(self._fds)):
                self._copying, written = _Copying.CLONED, []
                self._copied_bytes = self.planned.size
                self._hash_source_if_settled()
            else:
                self._copying, written = _Copying.WRITE_ONCE, written[:1]
        needed, apparent_size = self.planned.size, None
        if written and has_holes(found):
            needed, apparent_size = data_bytes(self._fds[_SOURCE], needed), needed
            self._has_holes = needed < apparent_size
        self._reservation = self.options.space.reserve(written, needed, apparent_size)
        if self._has_holes:
            for fd, path in zip(self._fds[_TEMP:], self._new_paths, strict=True):
                make_hole(fd, path, self.planned.size)

    def _copy_all_data(self, source_fd: int, target_fd: int) -> None:
        offset, size = 0, self.planned.size
        while offset < size:
            start, offset = next_data(source_fd, offset, size) if self._has_holes else (0, size)
            _copy_range(source_fd, target_fd, start, offset - start)

    def _hash_source_if_settled(self) -> None:
        """Hash the source instead of its clone, if a write to the source is sure to show.

        From now on a write changes the mtime. While the mtime stays, the source holds the bytes of
        the clone, and the source is in the page cache.
        """
        if self.planned.mtime_ns < time.time_ns() - _TICK_NS:
            self._hashed_fd = _SOURCE

    def _sync_step(self) -> bool:
        copied_bytes = self._copied_bytes
        # A snapshot becomes the object, so it has to be on the disk too.
        first = _SOURCE if self.task is Task.HASH_SNAPSHOT else _TEMP
        for fd in self._fds[first:]:
            from_thread.check_cancelled()
            self.options.sync.data(fd)
        self._synced_bytes = copied_bytes
        return True

    def _hash_step(self) -> bool:
        """Hash the next of the bytes that are copied."""
        steps = STEPS_AT_ONCE if self.task is Task.HASH_SNAPSHOT else 1
        end = min(self._hashed_bytes + steps * STEP_BYTES, self._copied_bytes)
        buffer = _read_buffer.of(self._bytes_at_once)
        fd = self._fds[self._hashed_fd]
        path = self.temp or self.source
        while self._hashed_bytes < end:
            from_thread.check_cancelled()
            wanted = buffer[: end - self._hashed_bytes]
            count = read_at(fd, path, wanted, self._hashed_bytes)
            if not count:
                raise ArtifactChangedError(self.source, "grew or shrank")
            self._md5.update(buffer[:count])
            self._hashed_bytes += count
            if self.options.should_yield():
                break
        if self._hashed_fd == _SOURCE:
            check_unchanged(os.fstat(fd), self.planned, self.source)
        return True

    @property
    def _bytes_at_once(self) -> int:
        """How many bytes are hashed, or copied once, before others may have the processor."""
        return CHUNK_BYTES * self.options.chunks_at_once


class _ReadBuffer(threading.local):
    """The memory that a thread reads into, made once.

    New memory would be zeroed each time, and the thread would hold the GIL for that.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def of(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]


_read_buffer = _ReadBuffer()


def _copy_range(source_fd: int, target_fd: int, offset: int, count: int) -> None:
    end = offset + count
    while offset < end:
        from_thread.check_cancelled()
        copied = copy_step(source_fd, target_fd, offset, min(CHUNK_BYTES, end - offset))
        if not copied:  # the source is our own file: no other program makes it shorter
            raise OSError(errno.EIO, f"A read stopped after {offset:,} of {end:,} bytes")
        offset += copied
