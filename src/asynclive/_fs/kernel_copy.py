"""Copies within the kernel: reflink, copy_file_range, positional reads."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from .file_io import create, write_all

# What the kernel or a file system answers where it cannot do it at all.
_UNSUPPORTED = (
    errno.EXDEV,
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
)


_FICLONE = 0x40049409  # linux/fs.h


# One step of a copy: long enough to cost nothing, short enough to be cancelled and to
# give way to a small artifact in a few hundredths of a second.
COPY_STEP_BYTES = 16 * 2**20


def copy_file(source_fd: int, path: str, checkpoint: Callable[[], None]) -> None:
    """Copy an open file from its start into the new, private file ``path``."""
    target_fd = create(path)
    try:
        offset = 0
        while copied := copy_step(source_fd, target_fd, offset):
            offset += copied
            checkpoint()
    finally:
        os.close(target_fd)


def clone(source_fd: int, target_fd: int) -> bool:
    """Make the empty file share all blocks of the other; whether the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    return True


def copy_step(source_fd: int, target_fd: int, offset: int, count: int = COPY_STEP_BYTES) -> int:
    """Copy up to ``count`` bytes at ``offset``; returns how many, 0 at the end.

    In the kernel where it can: ``copy_file_range`` shares the blocks on file systems with
    reflinks, and saves the way through user space elsewhere.
    """
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source_fd, target_fd, count, offset, offset)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    os.lseek(source_fd, offset, os.SEEK_SET)
    os.lseek(target_fd, offset, os.SEEK_SET)
    data = os.read(source_fd, min(count, 2**20))
    write_all(target_fd, data)
    return len(data)


if hasattr(os, "preadv"):

    def read_at(fd: int, path: str, buffer: memoryview, offset: int) -> int:  # noqa: ARG001
        """Read the bytes at ``offset`` into ``buffer``; how many, 0 at the end."""
        return os.preadv(fd, [buffer], offset)

else:  # Windows

    def read_at(fd: int, path: str, buffer: memoryview, offset: int) -> int:  # noqa: ARG001
        """Read the bytes at ``offset`` into ``buffer``; how many, 0 at the end."""
        # The place in the file that is open is where it is being written to.
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readinto(buffer) or 0
