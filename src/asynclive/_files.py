"""aiofiles under anyio, in one place: small files, on asyncio and on trio.

One thread hop an operation. That suits dvc.yaml, which is read and written once a group; the
copy loop in ``_stage`` does a whole file a hop and does not come through here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import aiofiles
import aiofiles.os
import anyio
import anyio.to_thread

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

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._threads = _Threads(limiter)

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
        try:
            # Not `async with`: its exit asks asyncio for the running loop.
            file = await aiofiles.open(path, encoding="utf-8", newline="", loop=self._loop)
        except FileNotFoundError:
            return None
        try:
            # The stamp first, and of the open file: text written meanwhile then has a newer one.
            stat = await self.run(os.fstat, file.fileno())
            return await file.read(), FileStamp.of(stat)
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()

    async def write_text(self, path: str, text: str, mode: int) -> None:
        """Create a file that must not exist; it is whole, or gone.

        Nobody else can open it before it is whole: it starts as 0600 and then gets ``mode``.

        Raises:
            FileExistsError: it exists, and is untouched.
            OSError: it cannot be written.
        """
        file = await aiofiles.open(
            path, "x", encoding="utf-8", newline="", opener=_open_private, loop=self._loop
        )
        complete = False
        try:
            try:
                # No fsync: on a disk busy with checkpoints it waits for all of them, and ext4 and
                # Btrfs write the data of a file before they rename it over another.
                await file.write(text)
                await self.run(os.fchmod, file.fileno(), mode)
            finally:
                with anyio.CancelScope(shield=True):
                    await file.close()
            complete = True
        finally:
            if not complete:
                with anyio.CancelScope(shield=True):
                    await self.remove(path)

    async def replace(self, source: str, destination: str) -> None:
        """Put ``source`` in the place of ``destination``, atomically."""
        await aiofiles.os.replace(source, destination, loop=self._loop)

    async def stat_stamp(self, path: str) -> FileStamp | None:
        """Return the stamp of the file as it is now, or None if it is missing."""
        try:
            return FileStamp.of(await aiofiles.os.stat(path, loop=self._loop))
        except FileNotFoundError:
            return None

    async def remove(self, path: str) -> None:
        """Remove a file; one that is missing will do."""
        try:
            await aiofiles.os.remove(path, loop=self._loop)
        except FileNotFoundError:
            pass


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
