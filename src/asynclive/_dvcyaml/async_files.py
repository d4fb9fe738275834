"""aiofiles under anyio: operations on small files, on asyncio and on trio.

Each operation takes about one thread hop. That suits dvc.yaml, which is read and written once for
each group of artifacts. ``_ingest/copy_and_hash`` copies a whole file in one hop and does not use
this module.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import anyio

from .._fs.file_io import set_mode, write_all
from .._fs.fsync import NO_SYNC, Sync
from .._workers.thread_start import run_in_any_thread

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")


class FileStamp(NamedTuple):
    """The stat fingerprint of a file: a changed or replaced file has another one."""

    inode: int
    size: int
    mtime_ns: int
    mode: int
    """Permission bits. A replacement keeps them, so a chmod counts as a change."""

    @classmethod
    def of(cls, stat: os.stat_result) -> FileStamp:
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode & 0o7777)

    @classmethod
    def of_path(cls, path: str) -> FileStamp | None:
        """Return the stamp of the file as it is now, or None if it is missing. Blocks."""
        try:
            return cls.of(os.stat(path))
        except FileNotFoundError:
            return None


class NotSyncedError(Exception):
    """The change was made, but a sync failed: it may not be on the disk."""


class _Threads:
    """The one method of an event loop that aiofiles calls: run a function in a thread.

    Without a ``loop`` argument aiofiles uses asyncio's running loop. With this object it runs on
    any backend, in the threads that our limiter counts.
    """

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter

    async def run_in_executor(self, _executor: object, func: Callable[..., T], *args: Any) -> T:
        # aiofiles passes no executor: the limiter bounds the threads.
        return await run_in_any_thread(partial(func, *args), self._limiter)


class AsyncFiles:
    """File operations that do not block the event loop.

    Call the methods in a task of this library, never in the caller's task. A native
    ``task.cancel()`` would end an await here while its thread still writes.

    Args:
        limiter: bounds the threads.
        sync: waits until written bytes are on the disk.
        rename_over: renames a temp file over another file, or replaces its bytes if it is a mount
            point. Blocks. None: ``os.replace``.

    Cancellation: each method waits for its thread, so a cancelled operation has either not begun
    or is complete.
    """

    def __init__(
        self,
        limiter: anyio.CapacityLimiter,
        sync: Sync = NO_SYNC,
        rename_over: Callable[[str, str], None] | None = None,
    ) -> None:
        self._threads = _Threads(limiter)
        self._sync = sync
        self._rename_over = rename_over or os.replace

    async def import_aiofiles(self) -> None:
        """Import aiofiles in a thread. Otherwise the first call would block the event loop for it.

        aiofiles imports asyncio. Both together take longer than the rest of asynclive.
        """
        await self.run(import_module, "aiofiles.os")

    @property
    def _loop(self) -> AbstractEventLoop:
        return cast("AbstractEventLoop", self._threads)

    async def run(self, func: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread that the limiter counts."""
        return await self._threads.run_in_executor(None, func, *args)

    async def read_text(self, path: str) -> tuple[str, FileStamp] | None:
        """Return the text with its line ends, and the stamp of these bytes; None if missing.

        Raises:
            UnicodeDecodeError: the file is not UTF-8.
            OSError: the file cannot be read.
        """
        import aiofiles

        stamps = []

        def open_stamped(path: str, flags: int) -> int:
            # Stat the open file before the read: if another process writes in between, its text
            # has a newer stamp than this one.
            fd = os.open(path, flags)
            stamps.append(FileStamp.of(os.fstat(fd)))
            return fd

        try:
            # Not `async with`: its exit asks asyncio for the running loop, and trio has none.
            file = await aiofiles.open(
                path, encoding="utf-8", newline="", opener=open_stamped, loop=self._loop
            )
        except FileNotFoundError:
            return None
        try:
            return await file.read(), stamps[0]
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()

    async def write(self, path: str, data: bytes, mode: int) -> FileStamp | None:
        """Create a file with these bytes. If that fails or is cancelled, no file is left.

        No other user can open an incomplete file: its mode is 0600 until the last byte is
        written, then ``mode``.

        Returns:
            The stamp of the file. No later write leaves the same stamp. None if the timestamps of
            the file system are too coarse to guarantee that.

        Raises:
            FileExistsError: the path exists. It stays as it is.
            OSError: the file cannot be written.
        """
        import aiofiles

        file = await aiofiles.open(path, "xb", buffering=0, opener=_open_private, loop=self._loop)
        complete = False
        try:
            try:
                # fsync only with durable=True. On a disk that is busy with checkpoints an fsync
                # waits for all of them. ext4 and Btrfs write the data of a file before they
                # rename it over another, so a crash leaves no empty dvc.yaml there.
                rest = memoryview(data)
                while rest:
                    written = await file.write(rest)
                    if not written:  # otherwise this would never end
                        raise OSError(errno.EIO, f"A write stopped {len(rest):,} bytes early", path)
                    rest = rest[written:]
                stamp = await self.run(_seal, file.fileno(), path, mode, self._sync)
            finally:
                with anyio.CancelScope(shield=True):
                    await file.close()
            complete = True
        finally:
            if not complete:
                with anyio.CancelScope(shield=True):
                    await self.remove(path)
        return stamp

    async def replace(self, source: str | None, destination: str, stamp: FileStamp | None) -> bool:
        """Rename ``source`` over ``destination`` if that still has this stamp.

        Args:
            source: the new file; None: replace nothing, only compare the stamp.
            destination: the file to replace.
            stamp: the expected stamp of ``destination``; None: it must not exist.

        Returns:
            Whether ``destination`` had the stamp. If not, nothing is replaced.

        Raises:
            NotSyncedError: the file was replaced, but the change may not be on the disk.
            OSError: the file was not replaced.
        """
        return await self.run(self.replace_blocking, source, destination, stamp)

    def replace_blocking(
        self, source: str | None, destination: str, stamp: FileStamp | None
    ) -> bool:
        """Do the same as ``replace``. Blocks."""
        return _replace(source, destination, stamp, self._sync, self._rename_over)

    def write_blocking(self, path: str, data: bytes, mode: int) -> FileStamp | None:
        """Do the same as ``write``. Blocks."""
        with open(path, "xb", buffering=0, opener=_open_private) as file:
            try:
                write_all(file.fileno(), data)
                return _seal(file.fileno(), path, mode, self._sync)
            except BaseException:
                os.remove(path)
                raise

    async def remove(self, path: str) -> None:
        """Remove a file. A missing file is no error."""
        import aiofiles.os

        try:
            await aiofiles.os.remove(path, loop=self._loop)
        except FileNotFoundError:
            pass


def read_text_blocking(path: str) -> tuple[str, FileStamp] | None:
    """Do the same as ``AsyncFiles.read_text``. Blocks."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            stamp = FileStamp.of(os.fstat(file.fileno()))
            return file.read(), stamp
    except FileNotFoundError:
        return None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _seal(fd: int, path: str, mode: int, sync: Sync) -> FileStamp | None:
    """Set the final mode and mtime of a complete file, sync it, and return its stamp."""
    set_mode(path, mode, fd)
    stamp = _unique_stamp(fd)
    sync.fd(fd)
    return stamp


def _unique_stamp(fd: int) -> FileStamp | None:
    if os.utime not in os.supports_fd:
        return None
    # A write sets the mtime to the kernel's last tick, some milliseconds ago. Two writes between
    # two ticks would leave equal stamps. A time in nanoseconds differs from that of any tick.
    now = time.time_ns()
    os.utime(fd, ns=(now, now))
    stamp = FileStamp.of(os.fstat(fd))
    return stamp if stamp.mtime_ns == now else None


def _replace(
    source: str | None,
    destination: str,
    stamp: FileStamp | None,
    sync: Sync,
    rename_over: Callable[[str, str], None],
) -> bool:
    # A write by another process between this stat and os.replace would be lost. No file system
    # offers an atomic check. DVC's own commands cannot write here: its lock is held.
    if FileStamp.of_path(destination) != stamp:
        return False
    if source is not None:
        rename_over(source, destination)
    try:
        if source is None and stamp is not None:
            sync.file(destination)  # another program wrote it, perhaps without an fsync
        for directory in sync.with_parents([os.path.dirname(destination)]):
            sync.directory(directory)
    except OSError as error:
        raise NotSyncedError from error
    return True
