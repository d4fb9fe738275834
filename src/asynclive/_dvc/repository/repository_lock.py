"""Who may be in DVC: one thread of this process, and the one process that holds DVC's lock."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any

from ..._errors import StorageError
from .lock_use import LockUse

# DVC keeps state for the whole process (the umask, its memory file system, its ignore
# caches) and guards none of it: only one thread is in DVC at a time, whatever the number
# of AsyncLive objects and event loops.
_dvc = threading.Lock()


def in_dvc() -> threading.Lock:
    """The lock that whoever calls DVC's code holds."""
    return _dvc


def _after_fork() -> None:
    """A forked child has none of the threads: one that was in DVC would never come out."""
    global _dvc
    _dvc = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class RepositoryLock:
    """DVC's repository lock, which excludes other processes.

    Args:
        repo: DVC's ``Repo``.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        # It would draw a bar of its own on stderr, and fail where that is closed.
        repo.lock._friendly = False
        self._use = LockUse(os.path.join(repo.tmp_dir, "asynclive.lock-use"))

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
        with _dvc:
            self._repo._lock_depth -= 1
            self._use.freed()
            self._repo.lock.unlock()
