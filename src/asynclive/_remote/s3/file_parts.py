"""Reads a file part by part, and hashes each part and the whole file. Blocks."""

from __future__ import annotations

import hashlib
import io
from typing import NamedTuple

from ..store import UnreadableObjectError, explain_unreadable


class FilePart(NamedTuple):
    """A part that was read."""

    body: io.BytesIO
    md5: bytes
    sha256: bytes


class FileMd5:
    """The MD5 of the parts of a file that were read so far, in order."""

    def __init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def add(self, start: int, data: bytes) -> None:
        """Add the next part. One that is read again is in it already."""
        if start == self._size:
            self.md5.update(data)
            self._size += len(data)


def read_part(source: str, start: int, size: int, whole: FileMd5) -> bytes:
    """Read one part, and add it to the MD5 of the whole file. Blocks."""
    try:
        with open(source, "rb") as file:
            file.seek(start)
            data = file.read(size)
    except OSError as error:
        raise explain_unreadable(error) from error
    if len(data) < size:
        raise UnreadableObjectError("it has fewer bytes in the cache than its record says")
    whole.add(start, data)
    return data


def hash_part(data: bytes, with_sha256: bool) -> FilePart:
    return FilePart(
        io.BytesIO(data),
        hashlib.md5(data, usedforsecurity=False).digest(),
        hashlib.sha256(data).digest() if with_sha256 else b"",
    )
