"""aiofiles under anyio, in one place: small files, on asyncio and on trio.

About one thread hop an operation. That suits dvc.yaml, which is read and written once a group;
the copy loop in ``_large`` does a whole file a hop and does not come through here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import anyio
import anyio.to_thread

from .._fs.fsync import NO_SYNC, Sync

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")


class FileStamp(NamedTuple):
    """Tells one state of a file from the next: a changed or replaced file has another stamp."""

    inode: int
    size: int
    mtime_ns: int
    mode: int
    """Permission bits. A replacement takes them over, so a chmod counts as a change."""

    @classmethod
    def of(cls, stat: os.stat_result) -> FileStamp:
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode & 0o7777)

    @classmethod
    def at(cls, path: str) -> FileStamp | None:
        """Return that of the file as it is now, or None if it is missing. Blocks."""
        try:
            return cls.of(os.stat(path))
        except FileNotFoundError:
            return None


class NotSyncedError(Exception):
    """What was done is not known to be on the disk."""


class _Threads:
    """What aiofiles needs of an event loop: a way to run a function in a thread.

    aiofiles takes asyncio's loop where it is given none. Given this, it runs on any backend,
    and in the threads that our own limiter counts.
    """

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter

    async def run_in_executor(self, _executor: object, func: Callable[..., T], *args: Any) -> T:
        # No executor is ever passed: the limiter is what bounds us.
        return await anyio.to_thread.run_sync(func, *args, limiter=self._limiter)


class AsyncFiles:
    """File operations that leave the event loop running.

    To be used in a task of ours, never in a caller's: under a native ``task.cancel()`` an await
    here would return while its thread still writes. Every thread is waited for; a cancelled
    operation has either not begun or is complete.
    """

    def __init__(self, limiter: anyio.CapacityLimiter, sync: Sync = NO_SYNC) -> None:
        self._threads = _Threads(limiter)
        self._sync = sync

    async def prepare(self) -> None:
        """Import what the other methods need, so that none of them holds the event loop for it.

        aiofiles imports asyncio, and both together take longer than all the rest of asynclive.
        """
        await self.run(import_module, "aiofiles.os")

    @property
    def _loop(self) -> AbstractEventLoop:
        return cast("AbstractEventLoop", self._threads)

    async def run(self, func: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread of the same limiter."""
        return await self._threads.run_in_executor(None, func, *args)

    async def read_text(self, path: str) -> tuple[str, FileStamp] | None:
        """Return the text, line ends kept, and the stamp of just these bytes; None if missing.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
            OSError: it cannot be read.
        """
        import aiofiles

        stamps = []

        def open_stamped(path: str, flags: int) -> int:
            # The stamp first, and of the open file: text written meanwhile then has a newer one.
            fd = os.open(path, flags)
            stamps.append(FileStamp.of(os.fstat(fd)))
            return fd

        try:
            # Not `async with`: its exit asks asyncio for the running loop.
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
        """Create a file that must not exist; it is whole, or gone.

        Nobody else can open it before it is whole: it starts as 0600 and then gets ``mode``.

        Returns:
            Its stamp, which no file has that was written by anybody later; None where the
            file system is too coarse for that.

        Raises:
            FileExistsError: it exists, and is untouched.
            OSError: it cannot be written.
        """
        import aiofiles

        file = await aiofiles.open(path, "xb", buffering=0, opener=_open_private, loop=self._loop)
        complete = False
        try:
            try:
                # No fsync unless it is wanted: on a disk busy with checkpoints it waits for all of
                # them, and ext4 and Btrfs write the data of a file before they rename it over
                # another.
                rest = memoryview(data)
                while rest:
                    rest = rest[await file.write(rest) :]
                stamp = await self.run(_seal, file.fileno(), mode, self._sync)
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
        """Put ``source`` in the place of ``destination``, atomically, if that has this stamp.

        Args:
            source: None: only look.
            destination: a file, or where none is if ``stamp`` is None.

        Returns:
            Whether it has the stamp. Nothing is replaced if it has another.

        Raises:
            NotSyncedError: it was replaced, and nobody knows whether that is on the disk.
            OSError: it was not.
        """
        return await self.run(self.replace_blocking, source, destination, stamp)

    def replace_blocking(
        self, source: str | None, destination: str, stamp: FileStamp | None
    ) -> bool:
        """As ``replace``, in a thread already."""
        return _replace(source, destination, stamp, self._sync)

    def write_blocking(self, path: str, data: bytes, mode: int) -> FileStamp | None:
        """As ``write``, in a thread already."""
        with open(path, "xb", buffering=0, opener=_open_private) as file:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                return _seal(file.fileno(), mode, self._sync)
            except BaseException:
                os.remove(path)
                raise

    async def remove(self, path: str) -> None:
        """Remove a file; one that is missing will do."""
        import aiofiles.os

        try:
            await aiofiles.os.remove(path, loop=self._loop)
        except FileNotFoundError:
            pass


def read_text_blocking(path: str) -> tuple[str, FileStamp] | None:
    """As ``AsyncFiles.read_text``, in a thread already."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            stamp = FileStamp.of(os.fstat(file.fileno()))
            return file.read(), stamp
    except FileNotFoundError:
        return None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _seal(fd: int, mode: int, sync: Sync) -> FileStamp | None:
    os.fchmod(fd, mode)
    stamp = _stamp(fd)
    sync.fd(fd)
    return stamp


def _stamp(fd: int) -> FileStamp | None:
    if os.utime not in os.supports_fd:
        return None
    # The time that a write leaves is that of the kernel's last tick, some milliseconds ago: two
    # writes between two ticks leave the same one. The time by the nanosecond is no tick's.
    now = time.time_ns()
    os.utime(fd, ns=(now, now))
    stamp = FileStamp.of(os.fstat(fd))
    return stamp if stamp.mtime_ns == now else None


def _replace(source: str | None, destination: str, stamp: FileStamp | None, sync: Sync) -> bool:
    # Between this look and os.replace, another's write would be lost. No file system offers
    # better; DVC's own commands are kept out by its lock.
    if FileStamp.at(destination) != stamp:
        return False
    if source is not None:
        os.replace(source, destination)
    try:
        if source is None and stamp is not None:
            sync.file(destination)  # written by somebody else, who may not have waited for it
        for directory in sync.with_above([os.path.dirname(destination)]):
            sync.directory(directory)
    except OSError as error:
        raise NotSyncedError from error
    return True
