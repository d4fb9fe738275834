"""How long the sessions of all processes have held DVC's lock, and when they leave it free.

A `dvc` command looks for the lock every 0.5 s, for 3 s, and then fails. Where several sessions
take turns there is hardly a moment when nobody holds it: so they all leave it free together, for
long enough to be found. What they have to know of each other stands in the times of one empty
file, which is written under the lock and may be removed at any time.
"""

from __future__ import annotations

import os
import time

# Once the lock was held for so long, less what it was free in between, it is left free (seconds).
LONGEST_USE = 1.5
# For so long; longer than a `dvc` command waits between two looks.
BREAK = 0.6


class LockUse:
    """Blocking, and without DVC.

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
