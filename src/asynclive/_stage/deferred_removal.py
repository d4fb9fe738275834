"""Removes what calls have made beside, or replaced; where that takes long, after they are told.

A file's blocks are given back when its last name goes, or when it is closed after that: on ext4
up to half a second for each GiB. So the names of a few files go at once, while they are open,
and closing them is left to a task that AsyncLive owns, as are whole directories.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio

from .._fs.file_io import READ
from .._fs.remove_tree import try_remove_tree
from .._workers.file_workers import FileWorkers

StartSoon = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
"""Runs a function in a task that leaving the block waits for."""

# Up to so much is removed within some hundredths of a second.
QUICK_BYTES = 64 * 2**20
QUICK_FILES = 256
# A large file has two names, of the object and of the copy. Bounds the open files; there are more
# only where a directory is staged.
_HELD_FILES = 8


class DeferredRemoval:
    """Removes files and directories of our own, in worker threads.

    ``start_soon`` may be None where nobody can do it later: then everybody waits.
    """

    def __init__(self, workers: FileWorkers, start_soon: StartSoon | None = None) -> None:
        self._workers = workers
        self._start_soon = start_soon
        # What is being freed. Bounded, because large artifacts wait for it to be empty.
        self._freeing: dict[anyio.Event, None] = {}

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove what is there; the space is free when this returns."""
        if paths:
            await self._workers.run_to_end(partial(_free, (), paths))

    async def remove_soon(self, paths: Sequence[str], size: int, nfiles: int) -> None:
        """Remove it for a call that does not wait for what takes long: it is done, or cancelled.

        Args:
            paths: what to remove, important names first.
            size: how many bytes it may hold at most.
            nfiles: how many files it may hold at most.
        """
        quick = size <= QUICK_BYTES and nfiles <= QUICK_FILES
        if quick or self._start_soon is None:
            await self.remove(paths)
        elif paths:
            held, left = await self._workers.run_to_end(partial(_take_names, paths))
            if held or left:
                freed = anyio.Event()
                self._freeing[freed] = None
                self._start_soon(partial(self._free_soon, partial(_free, held, left), freed))

    async def emptied(self) -> None:
        """Wait for the space of all that was removed, as whoever needs much of it does."""
        while self._freeing:
            await next(iter(self._freeing)).wait()

    async def _free_soon(self, free: Callable[[], None], freed: anyio.Event) -> None:
        try:
            await self._workers.run_to_end(free, bulk=True)
        finally:
            del self._freeing[freed]
            freed.set()


def _take_names(paths: Sequence[str]) -> tuple[list[int], list[str]]:
    """Take the names of the first few files; returns their descriptors, and what is left."""
    held: list[int] = []
    left = list(paths[_HELD_FILES:])
    for path in paths[:_HELD_FILES]:
        try:
            fd = os.open(path, _HOLD)
        except FileNotFoundError:
            continue
        except OSError:  # no descriptor is free, or its mode forbids it
            left.append(path)
            continue
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise IsADirectoryError
            os.unlink(path)
        except OSError:  # on Windows: it is open
            os.close(fd)
            left.append(path)
        else:
            held.append(fd)
    return held, left


def _free(held: Sequence[int], paths: Sequence[str]) -> None:
    for fd in held:
        with contextlib.suppress(OSError):  # closed all the same
            os.close(fd)
    for path in paths:
        try_remove_tree(path)


# Enough for a file to outlive its name, whatever its mode is, and a link is not followed. Other
# systems than Linux have to open it for reading.
_HOLD: int = READ | getattr(os, "O_PATH", 0) | getattr(os, "O_NOFOLLOW", 0)
