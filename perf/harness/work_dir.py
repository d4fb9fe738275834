"""Where runs take place: a directory whose file system does not remember the run before."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_TOPDIR = 0x00020000


@contextmanager
def runs_dir(work_dir: Path) -> Iterator[Path]:
    """The directory that the repositories of all runs are made in; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="runs-", dir=work_dir) as name:
        _spread(name)
        yield Path(name)


def _spread(directory: str) -> None:
    """Have ext4 put what is made in ``directory`` far apart, as ``chattr +T`` does.

    Ext4 without a journal passes over each inode deleted in the last minutes, one by one,
    whenever it needs a new one there. Files made where thousands were just deleted take 5 to
    30 times as long for it, which would measure the bench's own tidying.
    """
    fd = os.open(directory, os.O_RDONLY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, flags)
        value = int.from_bytes(flags, "little") | _TOPDIR
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, value.to_bytes(8, "little"))
    except OSError:
        pass  # another file system, which does not have this trouble
    finally:
        os.close(fd)
