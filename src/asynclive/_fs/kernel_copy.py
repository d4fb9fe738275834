"""Copy files in the kernel, and read at an offset. Blocks.

A kernel or a file system may copy fewer bytes than it was asked for, and none before the end of the
file. So each copy is compared with the size of its source.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from .file_io import create, write_all

# Errors of copy_file_range that reading and writing would meet too. After any other error the bytes
# are read and written: each file system has its own error for a copy that it does not support.
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_FICLONE = 0x40049409  # linux/fs.h

# Bytes per step of a copy. Between steps a copy can be cancelled, or yield to a small artifact,
# within a few hundredths of a second. Shorter steps would cost time.
COPY_STEP_BYTES = 16 * 2**20


def copy_file(source_fd: int, path: str, checkpoint: Callable[[], None]) -> None:
    """Copy an open file from its start to the new file ``path``, with mode 0600.

    Args:
        source_fd: the open file.
        path: the new file.
        checkpoint: called after each step; raises to stop.

    Raises:
        OSError: reading or writing failed, or fewer bytes could be read than the file has.
    """
    target_fd = create(path)
    try:
        offset = 0
        while copied := copy_step(source_fd, target_fd, offset):
            offset += copied
            checkpoint()
        check_size(target_fd, path, os.fstat(source_fd).st_size)
    finally:
        os.close(target_fd)


def check_size(fd: int, path: str, size: int) -> None:
    """Raise OSError if a new file does not have the size of its source."""
    copied = os.fstat(fd).st_size
    if copied != size:
        raise OSError(errno.EIO, f"The file system copied {copied:,} of {size:,} bytes", path)


def clone(source_fd: int, target_fd: int) -> bool:
    """Make the empty file share all blocks of the source; return whether that worked."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    if os.fstat(target_fd).st_size == os.fstat(source_fd).st_size:
        return True
    os.ftruncate(target_fd, 0)
    return False


def copy_step(source_fd: int, target_fd: int, offset: int, count: int = COPY_STEP_BYTES) -> int:
    """Copy up to ``count`` bytes at ``offset``; return the number copied, 0 at the end.

    There are two ways:

    1. ``copy_file_range``. It shares blocks on file systems with reflinks, and avoids a copy
       through user space on others.
    2. Reading and writing, if the first way fails or copies nothing. Some kernels and file systems
       return 0 before the end.
    """
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source_fd, target_fd, count, offset, offset)
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise
        else:
            if copied:
                return copied
    os.lseek(source_fd, offset, os.SEEK_SET)
    os.lseek(target_fd, offset, os.SEEK_SET)
    data = os.read(source_fd, min(count, 2**20))
    write_all(target_fd, data)
    return len(data)


if hasattr(os, "preadv"):

    def read_at(fd: int, path: str, buffer: memoryview, offset: int) -> int:  # noqa: ARG001
        """Read bytes at ``offset`` into ``buffer``; return their number, 0 at the end."""
        return os.preadv(fd, [buffer], offset)

else:  # Windows

    def read_at(fd: int, path: str, buffer: memoryview, offset: int) -> int:  # noqa: ARG001
        """Read bytes at ``offset`` into ``buffer``; return their number, 0 at the end."""
        # Open the file again: the offset of ``fd`` belongs to the thread that writes.
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readinto(buffer) or 0
