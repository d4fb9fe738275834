"""The two temp directories of a session, their lock, and their removal.

A session holds a lock on the file ``session`` in its directory. The kernel releases the lock
however the process ends. Some disks grant it to every host, so the file also names the owner of the
session (``session_owner``). A session counts as ended if its lock is free and its owner has
certainly ended. If there are no locks, it counts as alive.

Blocks; no DVC.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger

from .._fs.atomic_rename import can_rename_between, read_note, repair_swaps, write_note
from .._fs.file_io import remove_file, write_all, write_new
from .._fs.fsync import NO_SYNC, Sync
from .._fs.remove_tree import remove_tree
from .heartbeat import Heartbeat
from .moved_source import restore_moved_sources
from .replace_in_place import OUTSIDE_NOTE, make_dir_beside, repair_replacements
from .session_owner import MOST_BYTES, SILENT_SECONDS, has_ended, this_process

logger = getLogger(__name__)

LOCK_NAME = "session"
SESSION_NAME = re.compile(r"\.?asynclive-[0-9a-f]{16}")
# Recovery that holds the locks of so many new directories is no coincidence: this disk refuses all.
_MAKE_ATTEMPTS = 10
# A worker process of a killed session may write some more files before it ends itself.
_REMOVE_ATTEMPTS = 10
# What such a prefix looks like, without its directory.
_OUTSIDE_PREFIX = re.compile(r"\..+\.[0-9a-f]{16}\.", re.DOTALL)


@dataclass(eq=False, slots=True)
class TempSession:
    """Two private directories, locked so that no other session removes them.

    ``start`` makes them, ``close`` removes them.
    """

    cache_tmp: str
    workspace_tmp: str
    _locks: dict[str, int] = field(default_factory=dict)
    """The descriptors that hold the locks, by directory."""
    _outside_prefixes: dict[str, str] = field(default_factory=dict)
    """For each target that a rename cannot reach from here: the prefix of its temp files."""
    _dirs_beside: dict[str, str] = field(default_factory=dict)
    """For each directory that a rename cannot reach from here: one from which it can."""
    _reached: set[str] = field(default_factory=set)
    """The directories that a rename can reach from here."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _heartbeat: Heartbeat | None = None
    _process: int = field(default_factory=os.getpid)

    @classmethod
    def start(cls, cache_dir: str, tmp_dir: str, sync: Sync = NO_SYNC) -> TempSession:
        """Make and lock one temp directory on each file system.

        Args:
            cache_dir: the DVC cache; gets the directory for objects.
            tmp_dir: gets the directory for workspace files.
            sync: waits until the record of the owner is on the disk.

        Raises:
            OSError: one of them cannot be made. None is left.
        """
        locks: dict[str, int] = {}
        cache_tmp = make_locked(os.path.join(cache_dir, ".asynclive-"), locks, sync)
        try:
            workspace_tmp = make_locked(os.path.join(tmp_dir, "asynclive-"), locks, sync)
        except BaseException:
            remove_session(cache_tmp, locks.get(cache_tmp))
            raise
        return cls(cache_tmp, workspace_tmp, locks)

    def start_heartbeat(self) -> None:
        """Show other hosts that this session runs, until it is closed.

        Raises:
            ResourceLimitError: no thread can be started.
        """
        if self._locks and os.utime in os.supports_fd:
            self._heartbeat = Heartbeat([*self._locks.values()])

    def was_removed(self) -> bool:
        """Return whether another session took this one for ended, and removed its temp files."""
        return not all(map(os.path.isdir, (self.cache_tmp, self.workspace_tmp)))

    def removed_error(self) -> OSError:
        """Return the error for an artifact that was in flight then."""
        return OSError(
            errno.ESTALE,
            f"its temp files in '{self.workspace_tmp}' were removed. A session on another host "
            f"does so if this process shows no sign of life for {SILENT_SECONDS / 60:g} minutes. "
            "Enter a new block",
        )

    def close(self) -> None:
        """Remove both directories. If that fails, log a warning: the next session tries again.

        Does nothing in a forked child: the parent still uses them.
        """
        if os.getpid() != self._process:
            return
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for directory in (self.cache_tmp, self.workspace_tmp):
            remove_session(directory, self._locks.pop(directory, None))

    def temp_for(self, target: str) -> str:
        """Return a new temp path from which a file can be renamed to ``target``.

        It is in the session's directory, which Git ignores. If that is on another file system, it
        is next to ``target``, and a note makes crash recovery find it.

        Raises:
            OSError: the note cannot be written.
        """
        directory, name = os.path.split(target)
        temp = f"{next(self._numbers)}.tmp"
        if can_rename_between(self.workspace_tmp, directory):
            return os.path.join(self.workspace_tmp, temp)
        if target not in self._outside_prefixes:
            token = secrets.token_hex(8)
            prefix = os.path.join(directory, f".{name}.{token}.")
            write_note(os.path.join(self.workspace_tmp, token + OUTSIDE_NOTE), prefix)
            self._outside_prefixes[target] = prefix
        return self._outside_prefixes[target] + temp

    def temp_dir_for(self, target: str) -> str:
        """Return a directory of temp files from which files can be renamed to ``target``.

        It is that of the session. If that is on another file system, it is one next to ``target``.
        Git and DVC ignore it, and it is removed with that of the session.

        Raises:
            OSError: the directory cannot be made.
        """
        directory = os.path.dirname(target)
        while not os.path.isdir(directory):  # it will be made with the target
            directory = os.path.dirname(directory)
        if directory not in self._reached:
            found = self._dirs_beside.get(directory)
            if found is not None and os.path.isdir(found):
                return found
            if not _is_reached(self.workspace_tmp, directory):
                found = make_dir_beside(os.path.join(directory, "_"), self.workspace_tmp)
                for name in (".gitignore", ".dvcignore"):
                    write_new(os.path.join(found, name), b"*\n", 0o600)
                self._dirs_beside[directory] = found
                return found
            self._reached.add(directory)
        return self.workspace_tmp


def make_locked(prefix: str, locks: dict[str, int], sync: Sync = NO_SYNC) -> str:
    """Make and lock a temp directory; put the descriptor of the lock into ``locks``.

    Another session may run crash recovery at any moment. If this process was suspended in between,
    recovery may remove a directory that has no lock file, or whose lock it gets. There are three
    cases:

    1. We hold the lock, and the file is still there. Once it names its owner, the directory is
       safe.
    2. Another process removed the directory, or holds the lock in order to. Make another one.
    3. This file system has no locks, or refuses all. Use a name that crash recovery does not match:
       a session on a machine that has locks would take the directory for a dead one.
    """
    refused: list[str] = []
    while True:
        token = secrets.token_hex(8)
        directory = prefix + token
        os.mkdir(directory, 0o700)
        try:
            fd = os.open(os.path.join(directory, LOCK_NAME), _NEW_LOCK, 0o600)
        except (FileExistsError, FileNotFoundError):
            continue  # case 2: removed between mkdir and open
        except BaseException:
            remove_session(directory, None)
            raise
        locked = try_lock(fd)
        if locked and _is_at(fd, directory):
            locks[directory] = fd
            try:
                write_all(fd, this_process().to_bytes())
                sync.fd(fd)
            except BaseException:
                remove_session(directory, locks.pop(directory))
                raise
            return directory  # case 1
        os.close(fd)
        refused.append(directory)
        if locked is None or len(refused) == _MAKE_ATTEMPTS:  # case 3
            for directory in refused:
                remove_session(directory, None)
            directory = f"{prefix}unlocked-{token}"
            os.mkdir(directory, 0o700)
            return directory


def lock_if_dead(directory: str) -> int | None:
    """Lock the directory of a session that has ended; return the descriptor.

    Returns:
        None if the session may be alive, or another process removes its directory.

    Raises:
        OSError: the lock file cannot be opened; usually it belongs to another user.
    """
    try:
        if not has_ended(directory, LOCK_NAME):
            return None
        fd = os.open(os.path.join(directory, LOCK_NAME), ANY_LOCK, 0o600)
    except FileNotFoundError:
        return None
    # The process that held the lock may have removed the file before we got the lock.
    if try_lock(fd) and _is_at(fd, directory):
        return fd
    os.close(fd)
    return None


def remove_session(directory: str, fd: int | None, sync: Sync = NO_SYNC) -> bool:
    """Remove a temp directory; return whether it is gone.

    The lock file is removed last: a directory that cannot be emptied keeps it, so that the next
    session can lock it and try again.

    Args:
        directory: the temp directory.
        fd: the descriptor that holds its lock; None: it has no lock.
        sync: waits until restored files are on the disk.
    """
    error: OSError | None = None
    try:
        for _ in range(_REMOVE_ATTEMPTS):
            try:
                _empty(directory, sync)
                if fd is not None and os.name == "nt":  # Windows cannot remove an open file
                    os.close(fd)
                    fd = None
                remove_file(os.path.join(directory, LOCK_NAME))
                os.rmdir(directory)
            except OSError as failed:
                if not os.path.lexists(directory):
                    return False  # removed by hand, or by another session
                error = failed
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    break
            else:
                return True
        if fd is not None:
            _keep_record(directory, fd)
    finally:
        if fd is not None:
            os.close(fd)
    logger.warning(
        "Cannot remove '%s', the temp directory of a session: %s. The next session tries again.",
        directory,
        error,
    )
    return False


def _keep_record(directory: str, fd: int) -> None:
    """Write the lock file again, so that the next session knows that the owner has ended."""
    with suppress(OSError):  # usually the file is still there
        os.lseek(fd, 0, os.SEEK_SET)
        record = os.read(fd, MOST_BYTES)
        lock = os.open(os.path.join(directory, LOCK_NAME), _NEW_LOCK, 0o600)
        try:
            write_all(lock, record)
        finally:
            os.close(lock)


def _empty(directory: str, sync: Sync) -> None:
    """Restore files that a kill left half-way, then remove all files but the lock.

    Swaps come first: the file that was being swapped may be a moved source, or in one.
    """
    _repair(directory, sync)
    restore_moved_sources(directory, sync)
    names = [name for name in os.listdir(directory) if name != LOCK_NAME]
    notes = [os.path.join(directory, name) for name in names if name.endswith(OUTSIDE_NOTE)]
    _remove_outside(notes, sync)
    for name in names:
        remove_tree(os.path.join(directory, name))


def _repair(directory: str, sync: Sync) -> None:
    for destination in repair_swaps(directory):
        logger.warning("Restored '%s': a session was killed between two renames.", destination)
    for destination in repair_replacements(directory, sync):
        logger.warning("Restored '%s': a session was killed while it wrote it.", destination)


def _remove_outside(notes: Sequence[str], sync: Sync) -> None:
    """Remove the temp files outside of the session's directory that ``notes`` name."""
    for note in notes:
        directory, prefix = os.path.split(read_note(note))
        # A kill may cut a note short: its prefix would then match files of the user.
        if _OUTSIDE_PREFIX.fullmatch(prefix) and os.path.isdir(directory):
            for name in os.listdir(directory):
                if name.startswith(prefix) and name.endswith(".tmp"):
                    path = os.path.join(directory, name)
                    if os.path.isdir(path) and not os.path.islink(path):
                        _repair(path, sync)
                    remove_tree(path)


def _is_reached(directory: str, other: str) -> bool:
    # An unwritable directory fails at the commit.
    return not os.access(other, os.W_OK | os.X_OK) or can_rename_between(directory, other)


def _is_at(fd: int, directory: str) -> bool:
    """Return whether the open file is still the lock of the directory."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(os.path.join(directory, LOCK_NAME)))
    except FileNotFoundError:
        return False


_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
ANY_LOCK: int = os.O_RDWR | os.O_CREAT | _O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_NEW_LOCK: int = ANY_LOCK | os.O_EXCL

# try_lock(fd) locks a file without waiting. It returns True if we hold the lock now, False if
# another process holds it, None if this file system or platform has no locks.
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
        fcntl = None  # type: ignore[assignment]  # a platform without it

    def try_lock(fd: int) -> bool | None:
        if fcntl is None:
            return None
        try:
            # Not lockf: a process loses that lock when it closes any descriptor of the file.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # ENOLCK, ENOSYS: this file system has no locks
            return None
        return True
