"""Copy files in the kernel, and read at an offset. Blocks."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from .file_io import create, write_all

# Errors that mean: the kernel or the file system does not support the call.
_UNSUPPORTED = (
    errno.EXDEV,
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
)
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
    """
    target_fd = create(path)
    try:
        offset = 0
        while copied := copy_step(source_fd, target_fd, offset):
            offset += copied
            checkpoint()
    finally:
        os.close(target_fd)


def clone(source_fd: int, target_fd: int) -> bool:
    """Make the empty file share all blocks of the source; return whether that worked."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    return True


def copy_step(source_fd: int, target_fd: int, offset: int, count: int = COPY_STEP_BYTES) -> int:
    """Copy up to ``count`` bytes at ``offset``; return the number copied, 0 at the end.

    Uses ``copy_file_range`` if it works: it shares blocks on file systems with reflinks, and
    avoids a copy through user space on others.
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
        """Read bytes at ``offset`` into ``buffer``; return their number, 0 at the end."""
        return os.preadv(fd, [buffer], offset)

else:  # Windows

    def read_at(fd: int, path: str, buffer: memoryview, offset: int) -> int:  # noqa: ARG001
        """Read bytes at ``offset`` into ``buffer``; return their number, 0 at the end."""
        # Open the file again: the offset of ``fd`` belongs to the thread that writes.
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readinto(buffer) or 0
