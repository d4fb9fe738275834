"""Whether a file may hold newer bytes than those that were read of it. Blocking, no DVC."""

from __future__ import annotations

import os
import sys
import time

# A file system that stamps whole seconds: the next write may have the same stamp for so long.
_COARSE_TICK_NS = 2 * 10**9
_CLOCK_REALTIME_COARSE = 5  # Linux: what most of its file systems stamp with
_TICK_NS = (
    round(time.clock_getres(_CLOCK_REALTIME_COARSE) * 10**9)
    if sys.platform.startswith("linux")
    else 1
)

Fingerprint = tuple[int, int]
"""Inode and mtime (ns): what a file that is replaced or written does not keep."""


def fingerprint_of(found: os.stat_result) -> Fingerprint:
    return found.st_ino, found.st_mtime_ns


def file_clock_ns() -> int:
    """The time by the clock that files are stamped with."""
    if sys.platform.startswith("linux"):
        return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
    return time.time_ns()


def seconds_to_next_tick(mtime_ns: int, now_ns: int) -> float:
    """For how long from now on a write may leave the file with this mtime; 0: it will not."""
    tick_ns = _COARSE_TICK_NS if not mtime_ns % 10**9 else _TICK_NS
    # A file from the future gets an earlier stamp by the next write.
    since_ns = now_ns - mtime_ns
    return max(0, tick_ns - since_ns) / 10**9 if -tick_ns <= since_ns else 0.0


def is_open_for_writing(path: str) -> bool:
    """Whether some process has the file open for writing; False where that cannot be said.

    For a file that nobody can open by its name any more.
    """
    if not sys.platform.startswith("linux"):
        return False
    import errno
    import fcntl
    import signal

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:  # a link, or not ours to read
        return False
    try:
        # Whoever opens it by another name of it in this moment would have us killed by SIGIO.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False


# A change within the tick of the file system's clock leaves the mtime as it was. What is
# younger than this when looked at is looked at again (Git's "racy" entries).
_RACY_NS = 50_000_000


Stamp = tuple[int, int, int]
"""Inode, size and mtime (ns)."""


def stamp_of(path: str) -> Stamp | None:
    """None: there is no such file."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def mark_racy(stamp: Stamp | None) -> Stamp | None:
    """The stamp of what is read after this; one that nothing has, where it may not tell."""
    if stamp is None or time.time_ns() - stamp[2] >= _RACY_NS:
        return stamp
    return (*stamp[:2], -1)


def is_racy(stamp: Stamp) -> bool:
    return stamp[2] == -1
