"""A small file system of its own kind, in a file, mounted for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MKFS = {
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q"],
}


class NotPossibleError(Exception):
    """It cannot be mounted here; says why."""


@contextmanager
def mounted(kind: str, size: int, work_dir: Path) -> Iterator[Path]:
    """Mount a new file system of ``kind`` ("xfs", "btrfs" or "tmpfs") and ``size`` bytes.

    The bytes are taken from ``work_dir`` as they are written (those of a tmpfs from memory),
    and given back at the end.

    Raises:
        NotPossibleError: no root, a tool is missing, or the kernel refuses.
    """
    if not sys.platform.startswith("linux"):
        raise NotPossibleError(f"{kind} is mounted on Linux only")
    if os.geteuid() != 0:
        raise NotPossibleError(f"only root can mount {kind}")
    with tempfile.TemporaryDirectory(prefix=f"{kind}-", dir=work_dir) as name:
        image, point = Path(name) / "image", Path(name) / "mounted"
        point.mkdir()
        if kind == "tmpfs":
            _run("mount", "-t", kind, "-o", f"size={size}", kind, str(point))
        else:
            with image.open("wb") as file:
                file.truncate(size)
            _run(*_MKFS[kind], str(image))
            _run("mount", "-t", kind, "-o", "loop", str(image), str(point))
        try:
            # The loop device keeps the file; its space is free as soon as that goes, even if
            # this process is killed.
            image.unlink(missing_ok=True)
            yield point
        finally:
            # Detaches the loop device too. Lazily, if something in there is still open.
            if subprocess.run(["umount", str(point)], capture_output=True).returncode:
                _run("umount", "--lazy", str(point))


def resize(point: Path, size: int, files: int) -> None:
    """Have a tmpfs hold so many bytes and files, at most, from now on."""
    _run("mount", "-o", f"remount,size={size},nr_inodes={files}", str(point))


def used_bytes(path: Path) -> int:
    """What is used on the file system of ``path``, once all that was written is on it."""
    subprocess.run(["sync", "--file-system", str(path)], check=True)
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _run(*command: str) -> None:
    # Not on everybody's PATH, where root's tools are.
    tool = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        raise NotPossibleError(f"{command[0]} is not installed")
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise NotPossibleError(f"{command[0]} failed: {said}")
