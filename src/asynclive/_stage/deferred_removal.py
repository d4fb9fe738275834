"""Removes temp files, and slow removals after the caller was notified.

A file system frees the blocks of a file when the file loses its last name, or when it is closed
after that. On ext4 this takes up to half a second for each GiB. So the first few files are opened
and lose their names at once. A task that the session owns closes them later, and removes whole
directories.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio

from .._artifact.records import StagedArtifact
from .._fs.file_io import READ
from .._fs.remove_tree import try_remove_tree
from .._workers.file_workers import FileWorkers
from .._workspace.apply_placement import PlacementUndo

StartSoon = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
"""Runs a function in a task that leaving the block waits for."""

# Limits on a removal that the caller waits for: it takes some hundredths of a second.
QUICK_BYTES = 64 * 2**20
QUICK_FILES = 256
# Limit on the files that are kept open until they are freed. A large file has two names, of the
# object and of the copy. There are more only where a directory was staged.
_MAX_OPEN_FILES = 8


class DeferredRemoval:
    """Removes files and directories of our own, in worker threads.

    Args:
        workers: the threads to work in.
        start_soon: starts the task that removes later. None: every removal is waited for.
    """

    def __init__(self, workers: FileWorkers, start_soon: StartSoon | None = None) -> None:
        self._workers = workers
        self._start_soon = start_soon
        # The removals in progress. Bounded, because large artifacts wait until there are none.
        self._in_progress: dict[anyio.Event, None] = {}

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove the paths that exist; their space is free when this returns."""
        if paths:
            await self._workers.run_to_end(partial(_free, (), paths))

    async def remove_later(self, paths: Sequence[str], size: int, nfiles: int) -> None:
        """Remove the paths, without making the caller wait for a removal that takes long.

        Args:
            paths: the paths to remove, those that must lose their names first at the start.
            size: the most bytes they may hold.
            nfiles: the most files they may hold.
        """
        quick = size <= QUICK_BYTES and nfiles <= QUICK_FILES
        if quick or self._start_soon is None:
            await self.remove(paths)
        elif paths:
            open_fds, remaining = await self._workers.run_to_end(partial(_unlink_open, paths))
            if open_fds or remaining:
                freed = anyio.Event()
                self._in_progress[freed] = None
                free = partial(_free, open_fds, remaining)
                self._start_soon(partial(self._free_later, free, freed))

    async def discard(self, staged: StagedArtifact) -> None:
        """Remove the temp files of an artifact that was committed, or will not be."""
        await self.remove(_temp_paths(staged))

    async def discard_later(self, staged: StagedArtifact, undo: Sequence[object] = ()) -> None:
        """Remove the temp files as ``discard`` does, without a long wait for the caller.

        Args:
            staged: the artifact.
            undo: the steps of its commit, which will not be taken back.
        """
        beside = [
            directory
            for step in undo
            if isinstance(step, PlacementUndo)
            for directory in step.dirs_beside
        ]
        paths = [*_temp_paths(staged), *beside]
        await self.remove_later(paths, staged.size, staged.nfiles)

    async def wait_until_empty(self) -> None:
        """Wait until all space is free; call it before an artifact that needs much of it."""
        while self._in_progress:
            await next(iter(self._in_progress)).wait()

    async def _free_later(self, free: Callable[[], None], freed: anyio.Event) -> None:
        try:
            await self._workers.run_to_end(free, bulk=True)
        finally:
            del self._in_progress[freed]
            freed.set()


def _temp_paths(staged: StagedArtifact) -> list[str]:
    paths = [] if staged.placement is None else staged.placement.temp_paths
    pending = staged.pending_hashes
    return paths if pending is None else [*paths, pending.temp]


def _unlink_open(paths: Sequence[str]) -> tuple[list[int], list[str]]:
    """Open and unlink the first few files; return their descriptors and the paths that remain."""
    open_fds: list[int] = []
    remaining = list(paths[_MAX_OPEN_FILES:])
    for path in paths[:_MAX_OPEN_FILES]:
        try:
            fd = os.open(path, _OPEN_FLAGS)
        except FileNotFoundError:
            continue
        except OSError:  # the process has no descriptor free, or the mode forbids it
            remaining.append(path)
            continue
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise IsADirectoryError
            os.unlink(path)
        except OSError:  # a directory, or Windows, which does not unlink an open file
            os.close(fd)
            remaining.append(path)
        else:
            open_fds.append(fd)
    return open_fds, remaining


def _free(open_fds: Sequence[int], paths: Sequence[str]) -> None:
    for fd in open_fds:
        with contextlib.suppress(OSError):  # the descriptor is closed all the same
            os.close(fd)
    for path in paths:
        try_remove_tree(path)


# O_PATH keeps a file alive without its name, whatever its mode is. O_NOFOLLOW: a link itself is
# removed, not its target. Systems without O_PATH have to open the file for reading.
_OPEN_FLAGS: int = READ | getattr(os, "O_PATH", 0) | getattr(os, "O_NOFOLLOW", 0)
