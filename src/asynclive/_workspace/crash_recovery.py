"""Find the temp directories of killed sessions, and remove them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger

from .._fs.fsync import NO_SYNC, Sync
from .session_owner import has_ended
from .temp_session import ANY_LOCK, LOCK_NAME, SESSION_NAME, lock_if_dead, remove_session, try_lock

logger = getLogger(__name__)


def remove_dead_sessions(parents: Sequence[str], sync: Sync = NO_SYNC) -> None:
    """Remove the temp directories of sessions that have certainly ended, and log each.

    First finish or undo the renames that a session was killed in. If a directory cannot be
    removed, log a warning only.

    Args:
        parents: the directories that contain temp directories of sessions.
        sync: waits until restored files are on the disk.
    """
    for parent in parents:
        for directory in _sessions_in(parent):
            try:
                fd = lock_if_dead(directory)
            except OSError as error:  # usually the directory of another user
                logger.debug("Cannot tell whether the session of '%s' lives: %s", directory, error)
                continue
            if fd is None:
                continue
            files, size = _count_files(directory)
            if remove_session(directory, fd, sync):
                logger.info(
                    "Removed '%s', the temp directory of a session that was killed: "
                    "%d files, %d bytes.",
                    directory,
                    files,
                    size,
                )


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A temp directory, and whether its session still runs."""

    directory: str
    living: bool
    """True also if that cannot be told. ``asynclive doctor --json`` prints this name."""
    files: int
    """Number of files in it, without the lock."""
    size: int
    """Bytes of these files together."""


def find_sessions(parents: Sequence[str]) -> list[FoundSession]:
    """Return the temp directories of sessions in ``parents``. Removes nothing."""
    found = []
    for directory in sorted(each for parent in parents for each in _sessions_in(parent)):
        living = _is_alive(directory)
        found.append(FoundSession(directory, living, *_count_files(directory)))
    return found


def _is_alive(directory: str) -> bool:
    try:
        if not has_ended(directory, LOCK_NAME):
            return True
        fd = os.open(os.path.join(directory, LOCK_NAME), ANY_LOCK & ~os.O_CREAT)
    except FileNotFoundError:
        return False  # killed before it made the lock file
    except OSError:
        return True
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)  # releases the lock


def _sessions_in(parent: str) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return [
                entry.path
                for entry in entries
                if SESSION_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # it does not exist yet, or we may not read it
        return []


def _count_files(directory: str) -> tuple[int, int]:
    """Return the number of files without the lock, and their size in bytes."""
    files = size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            if name == LOCK_NAME and root == directory:
                continue
            files += 1
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(root, name)).st_size
    return files, size
