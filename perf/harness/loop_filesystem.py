"""Mount a small file system of a given kind, in a file, for as long as it is needed."""

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
    """The file system cannot be mounted; the message says why."""


@contextmanager
def mounted(kind: str, size: int, work_dir: Path) -> Iterator[Path]:
    """Mount a new file system of ``kind`` ("xfs", "btrfs" or "tmpfs") and ``size`` bytes.

    Its bytes take space in ``work_dir`` as they are written (those of a tmpfs take memory). The
    space is free again at the end.

    Raises:
        NotPossibleError: The user is not root, a tool is missing, or the kernel refuses.
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
            # The loop device keeps the file open. The space is free once the device is gone, even
            # if this process is killed.
            image.unlink(missing_ok=True)
            yield point
        finally:
            # Detaches the loop device too. Lazily, if a file there is still open.
            if subprocess.run(["umount", str(point)], capture_output=True).returncode:
                _run("umount", "--lazy", str(point))


def resize(point: Path, size: int, files: int) -> None:
    """Limit a mounted tmpfs to ``size`` bytes and ``files`` inodes."""
    _run("mount", "-o", f"remount,size={size},nr_inodes={files}", str(point))


def used_bytes(path: Path) -> int:
    """Return the used bytes of the file system of ``path``, after a sync."""
    subprocess.run(["sync", "--file-system", str(path)], check=True)
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _run(*command: str) -> None:
    # The tools of root are in directories that may not be on PATH.
    tool = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        raise NotPossibleError(f"{command[0]} is not installed")
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise NotPossibleError(f"{command[0]} failed: {said}")
