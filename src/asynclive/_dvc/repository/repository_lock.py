"""DVC's repository lock, and the breaks in which all sessions leave it to ``dvc`` commands."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

from ..._errors import LockTimeoutError, StorageError
from ..process_guard import dvc_guard
from ..tracking.git_staging import GitStaging


class RepositoryLock:
    """DVC's repository lock, which excludes other processes.

    Args:
        repo: DVC's ``Repo``.
        git: adds each group to Git's index, whose lock must be free too; None: groups are not
            added.
    """

    def __init__(self, repo: Any, git: GitStaging | None = None) -> None:
        self._repo = repo
        self._git = git
        # Otherwise the lock draws a progress bar on stderr, and fails if stderr is closed.
        repo.lock._friendly = False
        self._breaks = LockBreaks(os.path.join(repo.tmp_dir, "asynclive.lock-use"))

    def acquire(self) -> bool:
        """Acquire the lock if it is free now; return whether this process holds it. Never waits.

        Raises:
            StorageError: the lock file cannot be created or opened.
        """
        from dvc.lock import HardlinkLock, LockError

        if self._breaks.break_seconds():
            return False
        # Before DVC's lock, which other sessions and `dvc` commands can use in the meantime.
        if self._git is not None and self._git.is_locked():
            return False
        lock = self._repo.lock
        try:
            if isinstance(lock, HardlinkLock):
                lock.lock(timeout=timedelta(microseconds=1))  # 0 means DVC's default, 3 s
            else:
                lock._do_lock()  # lock() sleeps and retries in this thread
        except LockError:
            return False
        except OSError as error:
            raise StorageError(lock.lockfile, error) from error
        # DVC's code that runs under the lock must not acquire it again (dvc.repo.lock_repo).
        self._repo._lock_depth += 1
        self._breaks.record_acquire()
        return True

    def timeout_error(self, lock_timeout: float) -> LockTimeoutError:
        """Return the error for a wait of ``lock_timeout`` seconds: it names the lock."""
        git = self._git
        return LockTimeoutError(lock_timeout, git.lock if git and git.was_locked else None)

    def break_seconds(self) -> float:
        """Return for how long all sessions must leave the lock free for `dvc` commands."""
        return self._breaks.break_seconds()

    def release(self) -> None:
        """Release the lock as soon as no thread is in DVC's code.

        A commit may still run in its thread after its task has ended: native cancellation, by
        which some programs end all tasks, goes through shields.
        """
        with dvc_guard.hold():
            self._repo._lock_depth -= 1
            self._breaks.record_release()
            self._repo.lock.unlock()


# Limit on how long sessions hold the lock before a break (seconds). Free time in between counts
# against it.
LONGEST_HOLD = 1.5

# Length of a break (seconds). It must be longer than the 0.5 s between two attempts of a `dvc`
# command.
BREAK = 0.6


class LockBreaks:
    """Tracks how long all sessions have held DVC's lock, and when they must leave it free.

    A `dvc` command tries to acquire the lock every 0.5 s, for 3 s, and then fails. When several
    sessions commit in alternation, the lock is hardly ever free at such a moment. So all sessions
    leave it free together, long enough for a command to acquire it. They share their state in the
    timestamps of one empty file. The file is written under the lock; it may be removed at any
    time. Blocks.

    Args:
        path: the file. Its mtime is the time of the last release. Its atime is the mtime less the
            time for which the lock had been held.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._earlier_hold = 0.0
        self._acquired_at = 0.0

    def break_seconds(self) -> float:
        """Return for how many more seconds the lock must be left free."""
        held_for, free_for = self._read_times()
        return BREAK - free_for if held_for > LONGEST_HOLD and 0 <= free_for < BREAK else 0.0

    def record_acquire(self) -> None:
        """Record that this process has just acquired the lock."""
        held_for, free_for = self._read_times()
        # The count starts at zero after a whole break, and after the clock was set back.
        self._earlier_hold = max(0.0, held_for - free_for) if 0 <= free_for < BREAK else 0.0
        self._acquired_at = time.time()

    def record_release(self) -> None:
        """Record that this process is about to release the lock."""
        now = time.time()
        held_for = self._earlier_hold + max(0.0, now - self._acquired_at)
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666))
            os.utime(self._path, (now - held_for, now))
        except OSError:
            pass  # on a full or read-only disk a failed `dvc` command must be run again

    def _read_times(self) -> tuple[float, float]:
        """Return how long the lock was held, and for how long it is free, in seconds."""
        try:
            times = os.stat(self._path)
        except OSError:
            return 0.0, BREAK
        return times.st_mtime - times.st_atime, time.time() - times.st_mtime
