"""What the file system under a path is, and how much is free on it. Only looks."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a path.

    Attributes:
        kind: ``ext4``, ``xfs``, ``nfs4``...; None: this system does not say.
        mount: where it is mounted; None: likewise.
        free_bytes: what is free for this user.
        total_bytes: its size.
        inodes_free: how many files can be made; None: there is no such bound.
    """

    kind: str | None
    mount: str | None
    free_bytes: int
    total_bytes: int
    inodes_free: int | None


def disk_under(path: str) -> Disk:
    """The file system that ``path`` is on, or will be on when it is made.

    Raises:
        OSError: it cannot be asked.
    """
    path = existing(path)
    kind, mount = _mounted(path)
    usage = shutil.disk_usage(path)
    inodes = None
    if hasattr(os, "statvfs"):
        found = os.statvfs(path)
        inodes = found.f_favail if found.f_files else None
    return Disk(kind, mount, usage.free, usage.total, inodes)


def existing(path: str) -> str:
    """``path``, or the nearest directory above it that is there."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _mounted(path: str) -> tuple[str | None, str | None]:
    if not sys.platform.startswith("linux"):
        return None, None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_fields(line) for line in file]
    except OSError:
        return None, None
    path = os.path.realpath(path)
    # Of mounts on one point the last is the one in effect.
    under = [
        (len(point), number, kind, point)
        for number, (point, kind) in enumerate(mounts)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    if not under:
        return None, None
    _, _, kind, point = max(under)
    return kind, point


def _fields(line: str) -> tuple[str, str]:
    """The mount point and the type of the file system (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    return point, after.split(" ")[0]
