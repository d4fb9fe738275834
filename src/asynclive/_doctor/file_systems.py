"""Finds the file system under a path, and its free space. Changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import NamedTuple

# Options of network disks that keep locks on the host which takes them.
_LOCAL_LOCKS = {"nfs": ("nolock", "local_lock=all", "local_lock=flock"), "lustre": ("localflock",)}


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a path.

    Attributes:
        kind: ``ext4``, ``xfs``, ``nfs4``...; None: this operating system does not tell.
        mount: its mount point; None: this operating system does not tell.
        free_bytes: the space that is free for this user.
        total_bytes: its size.
        inodes_free: how many more files can be created; None: there is no such limit.
        local_locks: the mount option by which each host grants itself all file locks; None: there
            is none, or this operating system does not tell.
    """

    kind: str | None
    mount: str | None
    free_bytes: int
    total_bytes: int
    inodes_free: int | None
    local_locks: str | None = None


def disk_under(path: str) -> Disk:
    """Return the file system of ``path``; if it does not exist, of the directory it will be in.

    Raises:
        OSError: the file system cannot be read.
    """
    path = nearest_existing(path)
    mount = _mount_under(path)
    usage = shutil.disk_usage(path)
    inodes = None
    if hasattr(os, "statvfs"):
        counts = os.statvfs(path)
        inodes = counts.f_favail if counts.f_files else None
    return Disk(
        mount and mount.kind,
        mount and mount.point,
        usage.free,
        usage.total,
        inodes,
        mount and local_locks(mount.kind, mount.options),
    )


def local_locks(kind: str, options: str) -> str | None:
    """Return the option of a mount by which a host grants itself all locks; None: there is none.

    Args:
        kind: the type of the file system.
        options: those of the mount, separated by commas (nfs(5), mount.lustre(8)).
    """
    local = _LOCAL_LOCKS.get(kind.rstrip("0123456789"), ())
    return next((option for option in options.split(",") if option in local), None)


def nearest_existing(path: str) -> str:
    """Return ``path`` if it exists, else the nearest directory above it that does."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


class _Mount(NamedTuple):
    point: str
    kind: str
    options: str


def _mount_under(path: str) -> _Mount | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_fields(line) for line in file]
    except OSError:
        return None
    path = os.path.realpath(path)
    # Of several mounts on one mount point, the last one is in effect.
    under = [
        (len(mount.point), number, mount)
        for number, mount in enumerate(mounts)
        if path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
    ]
    return max(under)[2] if under else None


def _fields(line: str) -> _Mount:
    """Return the mount of a line (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    kind, _, options = after.rstrip("\n").split(" ", 2)
    return _Mount(point, kind, options)
