"""Who may be in DVC: one thread of this process, and the one process that holds DVC's lock."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

from ..._errors import StorageError
from ..process_guard import dvc_guard


class RepositoryLock:
    """DVC's repository lock, which excludes other processes.

    Args:
        repo: DVC's ``Repo``.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        # It would draw a bar of its own on stderr, and fail where that is closed.
        repo.lock._friendly = False
        self._use = LockBreaks(os.path.join(repo.tmp_dir, "asynclive.lock-use"))

    def acquire(self) -> bool:
        """Take the lock if it is free at this moment; whether it was.

        Raises:
            StorageError: its file cannot be made or opened.
        """
        from dvc.lock import HardlinkLock, LockError

        if self._use.break_seconds():
            return False
        lock = self._repo.lock
        try:
            if isinstance(lock, HardlinkLock):
                lock.lock(timeout=timedelta(microseconds=1))  # 0 would mean DVC's own 3 s
            else:
                lock._do_lock()  # lock() would sleep and retry in this thread
        except LockError:
            return False
        except OSError as error:
            raise StorageError(lock.lockfile, error) from error
        # Whatever of DVC's runs inside must not take the lock again (dvc.repo.lock_repo).
        self._repo._lock_depth += 1
        self._use.taken()
        return True

    def break_seconds(self) -> float:
        """For how long all sessions are to leave the lock free, for `dvc` commands to find it."""
        return self._use.break_seconds()

    def release(self) -> None:
        """Give the lock back, once no thread is in DVC any more.

        A commit may still be at work though its task is gone: native cancellation of every
        task, as some programs end, goes through shields.
        """
        with dvc_guard.hold():
            self._repo._lock_depth -= 1
            self._use.freed()
            self._repo.lock.unlock()


# Once the lock was held for so long, less what it was free in between, it is left free (seconds).
LONGEST_USE = 1.5


# For so long; longer than a `dvc` command waits between two looks.
BREAK = 0.6


class LockBreaks:
    """How long the sessions of all processes have held DVC's lock, and when they leave it free.

    A `dvc` command looks for the lock every 0.5 s, for 3 s, and then fails. Where several sessions
    take turns there is hardly a moment when nobody holds it: so they all leave it free together,
    for long enough to be found. What they have to know of each other stands in the times of one
    empty file, which is written under the lock and may be removed at any time. Blocking.

    Args:
        path: the file. Its mtime is when the lock was given back last; its atime is that, less
            how long the lock had been held.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._use = 0.0
        self._taken_at = 0.0

    def break_seconds(self) -> float:
        """For how long the lock is still to be left free."""
        use, free = self._read()
        return BREAK - free if use > LONGEST_USE and 0 <= free < BREAK else 0.0

    def taken(self) -> None:
        """The lock was just taken by this process."""
        use, free = self._read()
        # Free for a whole break, whoever held it instead; or the clock was set back.
        self._use = max(0.0, use - free) if 0 <= free < BREAK else 0.0
        self._taken_at = time.time()

    def freed(self) -> None:
        """The lock is about to be given back by this process."""
        now = time.time()
        use = self._use + max(0.0, now - self._taken_at)
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666))
            os.utime(self._path, (now - use, now))
        except OSError:
            pass  # on a full or read-only disk a `dvc` command may have to be run again

    def _read(self) -> tuple[float, float]:
        """Seconds for which the lock was held, and since when it is free."""
        try:
            found = os.stat(self._path)
        except OSError:
            return 0.0, BREAK
        return found.st_mtime - found.st_atime, time.time() - found.st_mtime
