"""Watches directories by inotify, on Linux.

The kernel queues an event in the system call that makes the change. So the queue has every change
that another process made before the queue is read.

Three kinds of change make no event in the directory of the file: a change of the target of a
symlink, a write through another hard link, and a write through a memory map. The caller must check
for those. A file that is open for writing is reported when it is closed.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from typing import Any

from .directory_watch import Change, UnwatchableError, Watch

_CREATE, _DELETE, _CLOSE_WRITE = 0x100, 0x200, 0x008
_MOVED_FROM, _MOVED_TO = 0x040, 0x080
_DELETE_SELF, _MOVE_SELF, _UNMOUNT = 0x400, 0x800, 0x2000
_OVERFLOW = 0x4000
_ONLYDIR, _EXCL_UNLINK = 0x1000000, 0x4000000
_ISDIR = 0x40000000

# Not IN_MODIFY: the kernel would queue an event for each write to a large file.
_NAMES = _CREATE | _DELETE | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO
_MASK = _NAMES | _DELETE_SELF | _MOVE_SELF | _ONLYDIR | _EXCL_UNLINK
_EVENT = struct.Struct("iIII")
# Enough for some thousand events. The kernel queues 16,384 by default.
_READ_BYTES = 256 * 1024

# File systems that only this kernel changes, by f_type (statfs(2)). On NFS, CIFS, 9p and FUSE
# another machine or a server in user space makes changes that inotify does not report.
_LOCAL = {
    0xEF53: "ext2, ext3, ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlayfs",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x3153464A: "jfs",
    0x52654973: "reiserfs",
}


def open_inotify() -> Watch | None:
    """Return a watch; None if the system has no inotify, or no instance left."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return InotifyWatch()
    except (UnwatchableError, OSError, AttributeError):  # AttributeError: a libc without inotify
        return None


class InotifyWatch:
    """Gets changes from inotify(7). Only the process that made the watch can use it."""

    def __init__(self) -> None:
        import ctypes

        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._statfs = ctypes.create_string_buffer(512)
        self._paths: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        # The devices whose file systems are known to report changes.
        self._devices: set[int] = set()
        self._process = os.getpid()
        self._fd = -1
        self._open()

    def _open(self) -> None:
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise UnwatchableError(os.strerror(self._errno()))

    def add(self, directory: str) -> None:
        path = os.fsencode(directory)
        device = os.stat(directory).st_dev
        if device not in self._devices:
            self._check_file_system(path)
            self._devices.add(device)
        watch = self._libc.inotify_add_watch(self._fd, path, _MASK)
        if watch < 0:
            error = OSError(self._errno(), os.strerror(self._errno()), directory)
            if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
                raise error
            raise UnwatchableError(error)  # ENOSPC: the user's limit of watches is reached
        if self._paths.setdefault(watch, directory) != directory:
            raise UnwatchableError("one directory in two places")  # a bind mount
        self._watches[directory] = watch

    def remove(self, directory: str) -> None:
        watch = self._watches.pop(directory, None)
        if watch is not None:
            del self._paths[watch]
            # Fails if the kernel has removed the watch, because the directory was deleted.
            self._libc.inotify_rm_watch(self._fd, watch)

    def changes(self) -> Iterable[Change] | None:
        if self._fd < 0 or os.getpid() != self._process:
            # A forked child shares the queue: events that it read would be missing in its parent.
            raise UnwatchableError("forked")
        masks: dict[tuple[int, str, int], int] = {}
        is_complete = True
        for watch, mask, name in self._read():
            if mask & _OVERFLOW:
                is_complete = False
            elif watch not in self._paths:
                continue  # the directory was removed from the watch after the event
            elif mask & _NAMES:
                key = (watch, name, mask & _ISDIR)
                masks[key] = masks.get(key, 0) | mask
            elif mask & _UNMOUNT or os.path.dirname(self._paths[watch]) not in self._watches:
                # A watched directory was moved or deleted, and no watched parent reports its name.
                is_complete = False
        if not is_complete:
            return None
        return [
            Change(self._paths[watch], name, bool(is_dir), bool(mask & _CLOSE_WRITE))
            for (watch, name, is_dir), mask in masks.items()
        ]

    def clear(self) -> None:
        self.close()
        self._paths.clear()
        self._watches.clear()
        self._devices.clear()
        self._process = os.getpid()
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Iterable[tuple[int, int, str]]:
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size
                yield watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
                offset += length

    def _check_file_system(self, path: bytes) -> None:
        if self._libc.statfs(path, self._statfs) != 0:
            raise OSError(self._errno(), os.strerror(self._errno()), path)
        kind = struct.unpack_from("@L", self._statfs)[0] & 0xFFFFFFFF  # the first member
        if kind not in _LOCAL:
            raise UnwatchableError(f"file system {kind:#x}")
