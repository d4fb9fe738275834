"""ObjectCopy: copies one object of the cache into a temp file, and hashes that. Blocks."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable

from ..._artifact.push_records import PushObject
from ..._fs.change_detection import Stamp
from ..._fs.file_io import READ, create, remove_file, set_mode, write_new
from ..._fs.kernel_copy import clone, copy_step, read_at
from ..store import UnreadableObjectError, explain_unreadable
from .object_directory import (
    OBJECT_MODE,
    READ_BYTES,
    hash_of,
    settled_mtime_ns,
    stamp_from,
)

# Bytes of one step, which is one hop to a thread: enough that the hop costs nothing, and few enough
# that other objects get the thread every few hundredths of a second.
STEP_BYTES = 8 * 2**20
# An object of at most so many bytes is read into memory, if blocks cannot be shared.
SMALL_BYTES = 2**19


def copy_small(obj: PushObject, source: str, temp: str) -> Stamp:
    """Copy a small object into the new file ``temp``, with its mode and mtime; return its stamp.

    Raises: as ``ObjectCopy.step`` does. No file is left.
    """
    with _open_source(obj, source) as file:
        try:
            data = file.read(obj.size + 1)
        except OSError as error:
            raise explain_unreadable(error) from error
    _check(obj, source, hashlib.md5(data, usedforsecurity=False).hexdigest())
    try:
        return stamp_from(write_new(temp, data, OBJECT_MODE, settled_mtime_ns()))
    except BaseException:
        remove_file(temp)
        raise


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
        self._path = source
        self.temp = temp
        self._has_shared = False
        self._source: io.FileIO | None = None
        self._temp_fd: int | None = None
        self._copied_bytes = 0
        self._hashed_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def next_bytes(self) -> int:
        """The number of bytes that the next step copies."""
        return min(STEP_BYTES, self._obj.known_size - self._hashed_bytes)

    @property
    def has_shared(self) -> bool:
        """Whether the file system shares the blocks of the two files."""
        return self._has_shared

    def step(self, checkpoint: Callable[[], None]) -> Stamp | None:
        """Copy and hash the next bytes; return the stamp of the new file once it is complete.

        It then has the right bytes, the mode of an object, and a settled mtime.

        Args:
            checkpoint: called now and then; raises to stop.

        Raises:
            UnreadableObjectError: the file in the cache does not have the bytes of its name.
            MissingObjectError: it cannot be read.
            OSError: the new file cannot be written.
        """
        if self._source is None:
            self._open()
        end = self._hashed_bytes + self.next_bytes
        self._copy_to(end, checkpoint)
        self._hash_to(end, checkpoint)
        if end < self._obj.size:
            return None
        assert self._temp_fd is not None
        _check(self._obj, self._path, self._md5.hexdigest())
        set_mode(self.temp, OBJECT_MODE, self._temp_fd)
        mtime_ns = settled_mtime_ns()
        os.utime(self.temp, ns=(mtime_ns, mtime_ns))
        stamp = stamp_from(os.fstat(self._temp_fd))
        self.close()
        return stamp

    def close(self) -> None:
        """Close the files. May be called more than once."""
        if self._source is not None:
            self._source.close()
        if self._temp_fd is not None:
            os.close(self._temp_fd)
        self._temp_fd = None

    def discard(self) -> None:
        """Close the files, and remove the new one. The copy failed or was cancelled."""
        self.close()
        remove_file(self.temp)

    def _open(self) -> None:
        self._source = _open_source(self._obj, self._path)
        self._temp_fd = create(self.temp)
        if self._obj.size and clone(self._source.fileno(), self._temp_fd):
            self._has_shared = True
            self._copied_bytes = self._obj.size

    def _copy_to(self, end: int, checkpoint: Callable[[], None]) -> None:
        assert self._source is not None
        assert self._temp_fd is not None
        source_fd = self._source.fileno()
        while self._copied_bytes < end:
            checkpoint()
            count = min(READ_BYTES, end - self._copied_bytes)
            copied = copy_step(source_fd, self._temp_fd, self._copied_bytes, count)
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


def _open_source(obj: PushObject, source: str) -> io.FileIO:
    try:
        file = io.FileIO(os.open(source, READ))
    except OSError as error:
        raise explain_unreadable(error) from error
    try:
        size = os.fstat(file.fileno()).st_size
        if size != obj.size:
            raise _wrong(source, f"{size:,} bytes instead of {obj.size:,}")
    except OSError as error:
        file.close()
        raise explain_unreadable(error) from error
    except BaseException:
        file.close()
        raise
    return file


def _check(obj: PushObject, source: str, md5: str) -> None:
    if md5 != hash_of(obj):
        raise _wrong(source, f"bytes with the MD5 {md5}")


def _wrong(source: str, what: str) -> UnreadableObjectError:
    return UnreadableObjectError(
        f"its object in the cache, '{source}', has {what}. Remove that file, and log the artifact "
        "again, or run 'dvc fetch'"
    )
