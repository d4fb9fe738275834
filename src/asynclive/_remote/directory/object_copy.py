"""ObjectCopy: copies one object of the cache into a temp file, and hashes that. Blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from ..._artifact.push_records import PushObject
from ..._fs.file_io import READ, create, remove_file
from ..._fs.kernel_copy import clone, copy_step, read_at
from ..store import UnreadableObjectError, explain_unreadable
from .object_directory import READ_BYTES, hash_of

# Bytes of one step, which is one hop to a thread: enough that the hop costs nothing, and few enough
# that other objects get the thread every few hundredths of a second.
STEP_BYTES = 8 * 2**20


class ObjectCopy:
    """Copies one object, a step at a time. The file system shares its blocks if it can.

    The MD5 is taken from the new file, so the bytes that were hashed are the bytes that are stored.

    Args:
        obj: the object.
        source: its file in the cache.
        temp: the new file.
    """

    def __init__(self, obj: PushObject, source: str, temp: str) -> None:
        self._obj = obj
        self._source = source
        self.temp = temp
        self._source_fd: int | None = None
        self._temp_fd: int | None = None
        self._copied_bytes = 0
        self._hashed_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def next_bytes(self) -> int:
        """The number of bytes that the next step copies."""
        return min(STEP_BYTES, self._obj.size - self._hashed_bytes)

    def step(self, checkpoint: Callable[[], None]) -> bool:
        """Copy and hash the next bytes; return whether all are copied, and are right.

        Args:
            checkpoint: called now and then; raises to stop.

        Raises:
            UnreadableObjectError: the file in the cache does not have the bytes of its name.
            MissingObjectError: it cannot be read.
            OSError: the new file cannot be written.
        """
        if self._source_fd is None:
            self._open()
        end = self._hashed_bytes + self.next_bytes
        self._copy_to(end, checkpoint)
        self._hash_to(end, checkpoint)
        if end < self._obj.size:
            return False
        self.close()
        if self._md5.hexdigest() != hash_of(self._obj):
            raise UnreadableObjectError(
                "its object in the cache has other bytes than its name promises. Remove the file "
                f"'{self._source}', and log the artifact again, or run 'dvc fetch'"
            )
        return True

    def close(self) -> None:
        """Close the files. May be called more than once."""
        for fd in (self._source_fd, self._temp_fd):
            if fd is not None:
                os.close(fd)
        self._source_fd = self._temp_fd = None

    def discard(self) -> None:
        """Close the files, and remove the new one. The copy failed or was cancelled."""
        self.close()
        remove_file(self.temp)

    def _open(self) -> None:
        try:
            self._source_fd = os.open(self._source, READ)
        except OSError as error:
            raise explain_unreadable(error) from error
        size = os.fstat(self._source_fd).st_size
        if size != self._obj.size:
            raise UnreadableObjectError(
                f"its object in the cache has {size:,} bytes instead of {self._obj.size:,}. Remove "
                f"the file '{self._source}', and log the artifact again, or run 'dvc fetch'"
            )
        self._temp_fd = create(self.temp)
        if size and clone(self._source_fd, self._temp_fd):
            self._copied_bytes = size

    def _copy_to(self, end: int, checkpoint: Callable[[], None]) -> None:
        assert self._source_fd is not None
        assert self._temp_fd is not None
        while self._copied_bytes < end:
            checkpoint()
            count = min(READ_BYTES, end - self._copied_bytes)
            copied = copy_step(self._source_fd, self._temp_fd, self._copied_bytes, count)
            if not copied:
                raise UnreadableObjectError("its object in the cache became shorter")
            self._copied_bytes += copied

    def _hash_to(self, end: int, checkpoint: Callable[[], None]) -> None:
        assert self._temp_fd is not None
        buffer = memoryview(bytearray(min(READ_BYTES, end - self._hashed_bytes)))
        while self._hashed_bytes < end:
            checkpoint()
            wanted = buffer[: end - self._hashed_bytes]
            count = read_at(self._temp_fd, self.temp, wanted, self._hashed_bytes)
            if not count:
                raise OSError(f"The file system stored {self._hashed_bytes:,} bytes of {end:,}")
            self._md5.update(buffer[:count])
            self._hashed_bytes += count
