"""Finds the file system under a path, and its free space. Changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a path.

    Attributes:
        kind: ``ext4``, ``xfs``, ``nfs4``...; None: this operating system does not tell.
        mount: its mount point; None: this operating system does not tell.
        free_bytes: the space that is free for this user.
        total_bytes: its size.
        inodes_free: how many more files can be created; None: there is no such limit.
    """

    kind: str | None
    mount: str | None
    free_bytes: int
    total_bytes: int
    inodes_free: int | None


def disk_under(path: str) -> Disk:
    """Return the file system of ``path``; if it does not exist, of the directory it will be in.

    Raises:
        OSError: the file system cannot be read.
    """
    path = nearest_existing(path)
    kind, mount = _type_and_mount_point(path)
    usage = shutil.disk_usage(path)
    inodes = None
    if hasattr(os, "statvfs"):
        counts = os.statvfs(path)
        inodes = counts.f_favail if counts.f_files else None
    return Disk(kind, mount, usage.free, usage.total, inodes)


def nearest_existing(path: str) -> str:
    """Return ``path`` if it exists, else the nearest directory above it that does."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _type_and_mount_point(path: str) -> tuple[str | None, str | None]:
    if not sys.platform.startswith("linux"):
        return None, None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_fields(line) for line in file]
    except OSError:
        return None, None
    path = os.path.realpath(path)
    # Of several mounts on one mount point, the last one is in effect.
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
    """Return the mount point and the type of the file system (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    return point, after.split(" ")[0]
