"""RemoteProofs: which objects of a remote directory were read, and had the right bytes.

An object whose file has the same inode, size and mtime has the same bytes, so it need not be read
again. DVC keeps such stamps in its state database, and takes the mode of an object as proof.

It is only a cache, below ``.dvc/tmp``: users may delete it at any time. The file has a line for
each object, and lines are only appended, so several processes may write to it. A line that a kill
has cut short is ignored. Blocks; no DVC.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Container

from .._fs.change_detection import Stamp
from .._fs.file_io import write_all

_CHECKED_LINES = 256
_APPEND: int = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class RemoteProofs:
    """The stamps of the proven objects of one remote directory.

    Args:
        cache_dir: the directory of hash caches.
        remote: the path of the remote directory.
    """

    def __init__(self, cache_dir: str, remote: str) -> None:
        name = hashlib.sha256(os.fsencode(remote)).hexdigest()[:32]
        self.path = os.path.join(cache_dir, f"proofs-{name}")

    def load(
        self, wanted: Container[str], checkpoint: Callable[[], None] = lambda: None
    ) -> dict[str, Stamp]:
        """Return the stamps of those objects that are wanted and known, by MD5.

        ``checkpoint`` is called every few hundred lines, and raises to stop.
        """
        stamps: dict[str, Stamp] = {}
        # Latin-1, which decodes any bytes: a damaged file has no valid line.
        with contextlib.suppress(OSError), open(self.path, encoding="latin-1") as lines:
            for number, line in enumerate(lines):
                if not number % _CHECKED_LINES:
                    checkpoint()
                md5, _, rest = line.partition(" ")
                if md5 in wanted:
                    with contextlib.suppress(ValueError):
                        inode, size, mtime_ns = map(int, rest.split())
                        stamps[md5] = inode, size, mtime_ns
        return stamps

    def add(self, stamps: dict[str, Stamp]) -> None:
        """Append the stamps of proven objects. Errors are ignored: they are then read again."""
        lines = "".join(f"{md5} {inode} {size} {at}\n" for md5, (inode, size, at) in stamps.items())
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            fd = os.open(self.path, _APPEND, 0o600)
            try:
                write_all(fd, lines.encode())
            finally:
                os.close(fd)
