"""DVC's repository lock, its breaks for ``dvc`` commands, and the moments at which these stash."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from ..._errors import LockTimeoutError, StorageError
from ..process_guard import dvc_guard
from ..tracking.git_staging import GitStaging


class RepositoryLock:
    """DVC's repository lock. It excludes other processes, and threads that use the same object.

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
        # DVC's own object cannot be unlocked any more after a thread has tried to lock it twice.
        self._is_held = False
        self._turn = threading.Lock()  # protects _is_held, while the lock is tried

    def acquire(self) -> bool:
        """Acquire the lock if it is free now; return whether this call did so. Never waits.

        Raises:
            StorageError: the lock file cannot be created or opened.
        """
        with self._turn:
            if self._is_held:
                return False
            self._is_held = self._try()
            return self._is_held

    def _try(self) -> bool:
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

    @contextlib.contextmanager
    def hold(self, lock_timeout: float | None) -> Iterator[None]:
        """Hold the lock during the block. Blocks until it is free.

        Args:
            lock_timeout: seconds to wait for it; None: no limit.

        Raises:
            LockTimeoutError: another process held it all the time.
            StorageError: as ``acquire`` does.
        """
        end = None if lock_timeout is None else time.monotonic() + lock_timeout
        # There is no event to wait for. At random intervals, so that processes do not try in step.
        while not self.acquire():
            if end is not None and time.monotonic() >= end:
                assert lock_timeout is not None
                raise self.timeout_error(lock_timeout)
            time.sleep(random.uniform(0.01, 0.1))  # no event tells that the lock is free
        try:
            yield
        finally:
            self.release()

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
            self._is_held = False


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


class WorkspaceStashes:
    """Tells whether DVC has put the workspace into Git's stash since this object was made.

    ``dvc exp save`` and ``dvc exp run`` do so for some milliseconds, without DVC's lock. They note
    it in a file of locks before they begin, and take the note back when they have ended.

    Args:
        repo: DVC's ``Repo``.
    """

    def __init__(self, repo: Any) -> None:
        from dvc.repo.experiments.utils import EXEC_TMP_DIR
        from dvc.rwlock import RWLOCK_FILE

        self._path = os.path.join(repo.tmp_dir, EXEC_TMP_DIR, RWLOCK_FILE)
        self._before = self._stamp()

    @property
    def are_made(self) -> bool:
        return self._stamp() != self._before or self._is_noted()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _is_noted(self) -> bool:
        import psutil  # type: ignore[import-untyped]  # DVC needs it; it has no types

        try:
            with open(self._path, encoding="utf-8") as file:
                noted = json.load(file).get("write", {}).values()
            return any(psutil.pid_exists(int(each["pid"])) for each in noted)
        except FileNotFoundError:
            return False
        except (ValueError, LookupError, TypeError, AttributeError):  # it is being written
            return True
