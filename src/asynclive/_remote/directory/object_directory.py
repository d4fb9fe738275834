"""ObjectDirectory: looks at objects, reads them, and gives them their names. Blocks.

Paths and modes are those of DVC (``LocalHashFileDB``).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable

from ..._artifact.push_records import PushObject
from ..._fs.change_detection import Stamp, stamp_of
from ..._fs.file_io import READ, make_dir, set_mode

# Bytes of one read. The thread checks for cancellation in between.
READ_BYTES = 2**18
_CHECKED_OBJECTS = 16
OBJECT_MODE = 0o444
_SHARED_DIR_MODE = 0o2775
# More than the longest tick, which is 2 seconds.
_TICK_NS = 3 * 10**9


class ObjectDirectory:
    """The objects of a remote.

    Args:
        path: the directory; need not exist.
        is_shared: whether a group of users shares it, by DVC's option ``shared``.
    """

    def __init__(self, path: str, is_shared: bool) -> None:
        self.path = path
        self._is_shared = is_shared

    def object_path(self, md5: str) -> str:
        return os.path.join(self.path, md5[:2], md5[2:])

    def look_at(
        self, objects: Iterable[PushObject], checkpoint: Callable[[], None]
    ) -> dict[str, Stamp | None]:
        """Return the stamps of those objects that exist, by MD5; None: its size does not fit.

        ``checkpoint`` is called now and then, and raises to stop.
        """
        stamps: dict[str, Stamp | None] = {}
        for number, obj in enumerate(objects):
            if not number % _CHECKED_OBJECTS:
                checkpoint()
            try:
                found = os.stat(self.object_path(obj.md5))
            except OSError:  # it is missing, or its directory cannot be entered
                continue
            fits = stat.S_ISREG(found.st_mode) and obj.fits(found.st_size)
            stamps[obj.md5] = stamp_from(found) if fits else None
        return stamps

    def read(self, obj: PushObject, checkpoint: Callable[[], None]) -> str:
        """Return the MD5 of the bytes of an object; ``checkpoint`` is called after each read.

        Raises:
            OSError: it does not exist, or cannot be read.
        """
        fd = os.open(self.object_path(obj.md5), READ)
        try:
            digest = hashlib.md5(usedforsecurity=False)
            while data := os.read(fd, READ_BYTES):
                digest.update(data)
                checkpoint()
            return digest.hexdigest()
        finally:
            os.close(fd)

    def prove(
        self, objects: Iterable[tuple[PushObject, Stamp]], checkpoint: Callable[[], None]
    ) -> tuple[set[str], dict[str, Stamp]]:
        """Read objects; return the MD5s of those that are right, and the stamps that prove it.

        A stamp is left out if the file is so young that a write may leave it as it is.

        Args:
            objects: the objects, and the stamps that they had.
            checkpoint: called now and then; raises to stop.
        """
        right: set[str] = set()
        stamps: dict[str, Stamp] = {}
        for obj, stamp in objects:
            checkpoint()
            is_settled = stamp[2] <= settled_mtime_ns()
            try:
                is_right = self.read(obj, checkpoint) == hash_of(obj)
            except OSError:  # it cannot be read, so it is replaced
                continue
            if is_right:
                right.add(obj.md5)
                if is_settled and stamp_of(self.object_path(obj.md5)) == stamp:
                    stamps[obj.md5] = stamp
        return right, stamps

    def make(self) -> None:
        """Make the directory and its parents, if they are missing."""
        missing = []
        path = self.path
        while not os.path.isdir(path) and os.path.dirname(path) != path:
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            self._make_dir(path)

    def publish(self, temp: str, md5: str) -> None:
        """Rename a complete file, whose bytes are right, to its object."""
        path = self.object_path(md5)
        try:
            os.replace(temp, path)
        except FileNotFoundError:
            self._make_dir(os.path.dirname(path))
            os.replace(temp, path)

    def _make_dir(self, path: str) -> None:
        if self._is_shared:
            make_dir(path, _SHARED_DIR_MODE)
            return
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return
        mode = os.stat(path).st_mode
        # DVC clears the setgid bit that a directory inherits, since it sets the mode.
        if mode & stat.S_ISGID:
            set_mode(path, mode & 0o777)


def hash_of(obj: PushObject) -> str:
    """Return the MD5 of the bytes of an object."""
    return obj.md5.partition(".")[0]


def stamp_from(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def settled_mtime_ns() -> int:
    """Return the latest mtime that a file may have if each write from now on is to change it.

    A write within one tick of the file system's clock leaves the mtime as it is.
    """
    return time.time_ns() - _TICK_NS
