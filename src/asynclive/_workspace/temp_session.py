"""The two directories of temp files that a session has, and the clearing up after dead ones.

A session lives for as long as somebody holds the lock on the file ``session`` in its directory.
The system lets the lock go however the process ends, and sees it from any container: process
ids tell nothing, for they repeat. Where the lock cannot say, a session counts as living.

Blocking, no DVC.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from logging import getLogger

from .._fs.atomic_rename import can_rename_between, read_note, repair_swaps, write_note
from .._fs.file_io import remove_file
from .._fs.fsync import NO_SYNC, Sync
from .._fs.remove_tree import remove_tree
from .moved_source import restore_moved_sources

logger = getLogger(__name__)

LOCK_NAME = "session"
SESSION_NAME = re.compile(r"\.?asynclive-[0-9a-f]{16}")
# A file that says how temp files begin that had to lie outside of the session's directory.
_NOTE = ".outside"
# A worker process ends when the one that it works for has, but may first write some files more.
_ATTEMPTS = 10
_OUTSIDE = re.compile(r"\..+\.[0-9a-f]{16}\.", re.DOTALL)


@dataclass(eq=False, slots=True)
class TempSession:
    """Two directories that nobody else can look into, kept from others' clearing up.

    Made by ``start``; ``close`` removes them.
    """

    cache_tmp: str
    workspace_tmp: str
    _locks: dict[str, int] = field(default_factory=dict)
    """The descriptors that hold the locks, by directory."""
    _outside: dict[str, str] = field(default_factory=dict)
    """How temp files begin that lie outside, by what they are to replace."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, cache_dir: str, tmp_dir: str) -> TempSession:
        """Make a directory in each of these.

        Raises:
            OSError: that is not possible; nothing is left.
        """
        locks: dict[str, int] = {}
        cache_tmp = _make(os.path.join(cache_dir, ".asynclive-"), locks)
        try:
            workspace_tmp = _make(os.path.join(tmp_dir, "asynclive-"), locks)
        except BaseException:
            remove_session(cache_tmp, locks.get(cache_tmp))
            raise
        return cls(cache_tmp, workspace_tmp, locks)

    def close(self) -> None:
        """Remove what is in the directories, and them. What cannot be is left to the next one."""
        for directory in (self.cache_tmp, self.workspace_tmp):
            remove_session(directory, self._locks.pop(directory, None))

    def temp_for(self, target: str) -> str:
        """Where to write what is to be renamed to ``target``.

        In the session's directory, where Git does not see it. Where a rename does not reach from
        there, beside ``target``; a note tells who clears up after us that it may be there.

        Raises:
            OSError: the note cannot be written.
        """
        directory, name = os.path.split(target)
        temp = f"{next(self._numbers)}.tmp"
        if can_rename_between(self.workspace_tmp, directory):
            return os.path.join(self.workspace_tmp, temp)
        if target not in self._outside:
            token = secrets.token_hex(8)
            beginning = os.path.join(directory, f".{name}.{token}.")
            write_note(os.path.join(self.workspace_tmp, token + _NOTE), beginning)
            self._outside[target] = beginning
        return self._outside[target] + temp


def _make(prefix: str, locks: dict[str, int]) -> str:
    """Make a directory with a lock, and put its descriptor into ``locks``."""
    while True:
        token = secrets.token_hex(8)
        directory = prefix + token
        os.mkdir(directory, 0o700)
        try:
            fd = os.open(os.path.join(directory, LOCK_NAME), _NEW_LOCK, 0o600)
        except (FileExistsError, FileNotFoundError):
            continue  # somebody who clears up was between the two, and removes it
        except BaseException:
            remove_session(directory, None)
            raise
        locked = try_lock(fd)
        if locked and _is_at(fd, directory):
            locks[directory] = fd
            return directory
        os.close(fd)
        if locked is None:
            # Not by a mark in the directory: whoever can lock would take it for a dead one's.
            remove_session(directory, None)
            directory = f"{prefix}unlocked-{token}"
            os.mkdir(directory, 0o700)
            return directory


def lock_if_dead(directory: str) -> int | None:
    """Take the lock of a session that has ended; None: it lives, or others clear up after it.

    Raises:
        OSError: the directory is not ours to look into.
    """
    try:
        fd = os.open(os.path.join(directory, LOCK_NAME), ANY_LOCK, 0o600)
    except FileNotFoundError:
        return None
    # Whoever held the lock may have removed the file before we got it.
    if try_lock(fd) and _is_at(fd, directory):
        return fd
    os.close(fd)
    return None


def remove_session(directory: str, fd: int | None, sync: Sync = NO_SYNC) -> bool:
    """Remove a directory whose lock we hold, or that has none; whether nothing is left.

    The lock goes last: a directory in which something is left still has one, and whoever comes
    next can take it.
    """
    error: OSError | None = None
    try:
        for _ in range(_ATTEMPTS):
            try:
                _empty(directory, sync)
                if fd is not None and os.name == "nt":  # an open file cannot be removed
                    os.close(fd)
                    fd = None
                remove_file(os.path.join(directory, LOCK_NAME))
                os.rmdir(directory)
            except OSError as failed:
                if not os.path.lexists(directory):
                    return False  # removed by hand, or by whoever came in between
                error = failed
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    break
            else:
                return True
    finally:
        if fd is not None:
            os.close(fd)
    logger.warning(
        "Cannot remove '%s', where a session had its temp files: %s. The next one tries again.",
        directory,
        error,
    )
    return False


def _empty(directory: str, sync: Sync) -> None:
    """Put right what is half done, and remove all but the lock."""
    # A file that was being swapped may belong into what was moved aside, or be that itself.
    for destination in repair_swaps(directory):
        logger.warning("Put back '%s': a session had ended between two renames.", destination)
    restore_moved_sources(directory, sync)
    names = [name for name in os.listdir(directory) if name != LOCK_NAME]
    _remove_outside([os.path.join(directory, name) for name in names if name.endswith(_NOTE)])
    for name in names:
        remove_tree(os.path.join(directory, name))


def _remove_outside(notes: Sequence[str]) -> None:
    for note in notes:
        directory, beginning = os.path.split(read_note(note))
        # A note that was cut short says nothing of files of ours.
        if _OUTSIDE.fullmatch(beginning) and os.path.isdir(directory):
            for name in os.listdir(directory):
                if name.startswith(beginning) and name.endswith(".tmp"):
                    remove_file(os.path.join(directory, name))


def _is_at(fd: int, directory: str) -> bool:
    """Whether the open file still is the directory's lock."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(os.path.join(directory, LOCK_NAME)))
    except FileNotFoundError:
        return False


_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
ANY_LOCK: int = os.O_RDWR | os.O_CREAT | _O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_NEW_LOCK: int = ANY_LOCK | os.O_EXCL

# try_lock(fd) returns whether we have the lock now; None: that cannot be said here.
if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int) -> bool | None:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            return None
        return True

else:
    try:
        import fcntl
    except ImportError:
        fcntl = None  # type: ignore[assignment]  # a system without it

    def try_lock(fd: int) -> bool | None:
        if fcntl is None:
            return None
        try:
            # Not fcntl's other kind, which a process loses by closing any descriptor of the file.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # ENOLCK, ENOSYS: this file system has none
            return None
        return True
