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
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the block size of the file system is
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
        found = os.fstat(source_fd)
        if has_holes(found):
            _copy_data(source_fd, target_fd, path, found.st_size, checkpoint)
        else:
            offset = 0
            while copied := copy_step(source_fd, target_fd, offset):
                offset += copied
                checkpoint()
        check_size(target_fd, path, os.fstat(source_fd).st_size)
    finally:
        os.close(target_fd)


def _copy_data(
    source_fd: int, target_fd: int, path: str, size: int, checkpoint: Callable[[], None]
) -> None:
    """Copy a file with holes, and keep them."""
    make_hole(target_fd, path, size)
    offset = 0
    while offset < size:
        offset, end = next_data(source_fd, offset, size)
        while offset < end:
            copied = copy_step(source_fd, target_fd, offset, min(COPY_STEP_BYTES, end - offset))
            if not copied:
                raise OSError(errno.EIO, f"A read stopped after {offset:,} of {size:,} bytes")
            offset += copied
            checkpoint()


def make_hole(fd: int, path: str, size: int) -> None:
    """Give an empty file a size without any bytes: all of it is a hole.

    Raises:
        OSError: its file system cannot have so large a file, or no holes and no space for it.
    """
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        why = f"{os.strerror(error.errno or 0)}, for an apparent size of {size:,} bytes"
        raise OSError(error.errno, why, path) from error


def has_holes(found: os.stat_result) -> bool:
    """Return whether a file may have holes: it takes less space than it has bytes."""
    # A file system that compresses reports fewer blocks too. ``next_data`` tells then.
    return taken_bytes(found) < found.st_size


def taken_bytes(found: os.stat_result) -> int:
    """Return how many bytes of its disk a file takes; at most its size."""
    if not hasattr(found, "st_blocks"):  # Windows
        return found.st_size
    return min(found.st_size, found.st_blocks * _BLOCK_BYTES)


def next_data(fd: int, offset: int, size: int) -> tuple[int, int]:
    """Return where the next bytes that are no hole begin and end, at or after ``offset``.

    Where the system cannot tell, all bytes are data.
    """
    if not hasattr(os, "SEEK_DATA"):
        return offset, size
    try:
        start = os.lseek(fd, offset, os.SEEK_DATA)
        end = os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as error:
        return (size, size) if error.errno == errno.ENXIO else (offset, size)
    return min(start, size), min(end, size)


def data_bytes(fd: int, size: int) -> int:
    """Return how many bytes of an open file are no hole."""
    total = offset = 0
    while offset < size:
        start, offset = next_data(fd, offset, size)
        total += offset - start
    return total


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
