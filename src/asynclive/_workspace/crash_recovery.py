"""Find and remove what killed sessions left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger

from .._fs.fsync import NO_SYNC, Sync
from .temp_session import ANY_LOCK, LOCK_NAME, SESSION_NAME, lock_if_dead, remove_session, try_lock

logger = getLogger(__name__)


def remove_dead_sessions(places: Sequence[str], sync: Sync = NO_SYNC) -> None:
    """Remove the directories in ``places`` of sessions that have ended, and say so in the log.

    What they were killed over is put right first, and on the disk if ``sync`` waits for that.
    What cannot be removed is only logged.
    """
    for place in places:
        for directory in _sessions_in(place):
            try:
                fd = lock_if_dead(directory)
            except OSError as error:  # another user's, most often
                logger.debug("Cannot tell whether the session of '%s' lives: %s", directory, error)
                continue
            if fd is None:
                continue
            files, size = _count(directory)
            if remove_session(directory, fd, sync):
                logger.info(
                    "Removed '%s', which a session that has ended had left: %d files, %d bytes.",
                    directory,
                    files,
                    size,
                )


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A directory of temp files, as it is found. ``size``: bytes of its files."""

    directory: str
    living: bool
    """Also where that cannot be told."""
    files: int
    size: int


def find_sessions(places: Sequence[str]) -> list[FoundSession]:
    """The directories of sessions in ``places``, and which are dead. Removes nothing."""
    found = []
    for directory in sorted(each for place in places for each in _sessions_in(place)):
        living = _lives(directory)
        found.append(FoundSession(directory, living, *_count(directory)))
    return found


def _lives(directory: str) -> bool:
    try:
        fd = os.open(os.path.join(directory, LOCK_NAME), ANY_LOCK & ~os.O_CREAT)
    except FileNotFoundError:
        return False  # killed before it had made one
    except OSError:
        return True
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)  # and lets it go


def _sessions_in(place: str) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return [
                entry.path
                for entry in entries
                if SESSION_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # not there yet, or not ours to see
        return []


def _count(directory: str) -> tuple[int, int]:
    """How many files there are besides the lock, and their bytes."""
    files = size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(root, name)).st_size
            files += name != LOCK_NAME or root != directory
    return files, size
