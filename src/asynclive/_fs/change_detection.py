"""Tell whether a file has changed since it was read, by its stat record. Blocks; no DVC."""

from __future__ import annotations

import os
import sys
import time

# Two writes within one tick of the file system's clock leave the same mtime. This long is a tick
# of file systems with mtimes in whole seconds.
_COARSE_TICK_NS = 2 * 10**9
_CLOCK_REALTIME_COARSE = 5  # the clock of most file systems on Linux
_TICK_NS = (
    round(time.clock_getres(_CLOCK_REALTIME_COARSE) * 10**9)
    if sys.platform.startswith("linux")
    else 1
)

Fingerprint = tuple[int, int]
"""Inode and mtime (ns). A file that is replaced or written gets another one."""


def fingerprint_of(found: os.stat_result) -> Fingerprint:
    return found.st_ino, found.st_mtime_ns


def file_clock_ns() -> int:
    """Return the time of the clock from which the kernel takes mtimes."""
    if sys.platform.startswith("linux"):
        return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
    return time.time_ns()


def seconds_to_next_tick(mtime_ns: int, now_ns: int) -> float:
    """Return for how many seconds a write may still leave the file with this mtime.

    0: any write from now on changes the mtime.
    """
    tick_ns = _COARSE_TICK_NS if not mtime_ns % 10**9 else _TICK_NS
    # An mtime in the future is no problem: the next write sets an earlier one.
    since_ns = now_ns - mtime_ns
    return max(0, tick_ns - since_ns) / 10**9 if -tick_ns <= since_ns else 0.0


def is_open_for_writing(path: str) -> bool:
    """Return whether a process has the file open for writing; False if that cannot be told."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:  # a symbolic link, or not readable
        return False
    try:
        return has_writer(fd)
    finally:
        os.close(fd)


def has_writer(fd: int) -> bool:
    """Return whether a process has the file open for writing, or mapped into its memory for that.

    False if it cannot be told: on network file systems, and for a file of another user.

    Args:
        fd: the file, open for reading.
    """
    if not sys.platform.startswith("linux"):
        return False
    import errno
    import fcntl
    import signal

    try:
        # We hold the lease for some microseconds. A process that opens the file for writing then
        # waits for its end, and the kernel sends us a signal. The default one, SIGIO, would kill
        # us; SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


# A file that is younger than this when it is read may be written again without another mtime. It
# is read again the next time (Git calls such entries "racy").
_RACY_NS = 50_000_000


Stamp = tuple[int, int, int]
"""Inode, size and mtime (ns)."""


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of a file, or None if it does not exist."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def mark_racy(stamp: Stamp | None) -> Stamp | None:
    """Return ``stamp``, or one that equals no file's if the file may change unnoticed.

    Call this with the stamp of a file before the file is read.
    """
    if stamp is None or time.time_ns() - stamp[2] >= _RACY_NS:
        return stamp
    return (*stamp[:2], -1)


def is_racy(stamp: Stamp) -> bool:
    return stamp[2] == -1
