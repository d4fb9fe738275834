"""The directories that a bench works in, and the space they need."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perf.harness.units import MIB

_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_TOPDIR = 0x00020000


@contextmanager
def work_dir(given: Path | None) -> Iterator[Path]:
    """Yield the given directory, which is kept, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="asynclive-bench-") as name:
        yield Path(name)


def need_space(where: Path, needed: int, what: str) -> None:
    """End the program if fewer than ``needed`` bytes are free."""
    free = shutil.disk_usage(where).free
    if free < needed:
        raise SystemExit(
            f"{what} needs {needed // MIB} MiB in {where}, which has {free // MIB} MiB free. "
            "Name another directory with --dir."
        )


@contextmanager
def runs_dir(work_dir: Path) -> Iterator[Path]:
    """Make the directory that holds the repositories of all runs; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="runs-", dir=work_dir) as name:
        _spread(name)
        yield Path(name)


def _spread(directory: str) -> None:
    """Make ext4 place the content of ``directory`` far apart, as ``chattr +T`` does.

    Ext4 without a journal passes over each inode that was deleted in the last minutes, one by one,
    when it needs a new inode near it. Files that are made where thousands were just deleted take 5
    to 30 times as long. Without this the bench would measure how it removes its own repositories.
    """
    fd = os.open(directory, os.O_RDONLY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, flags)
        value = int.from_bytes(flags, "little") | _TOPDIR
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, value.to_bytes(8, "little"))
    except OSError:
        pass  # another file system, which has no such flag and needs none
    finally:
        os.close(fd)
