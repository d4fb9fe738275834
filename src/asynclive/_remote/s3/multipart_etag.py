"""The ETag of an object that was sent in parts: the MD5 of the MD5s of its parts, and their number.

It depends on the size of the parts, which the store does not tell. Plain functions; they block.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable

MIB = 2**20
MAX_PARTS = 10_000
_MULTIPART_ETAG = re.compile(r"[0-9a-f]{32}-([1-9]\d{0,4})")
# The sizes that programs use where the user gives none, the most likely first: DVC (by s3fs), the
# command of AWS and asynclive, rclone and obstore, then mc, s5cmd, and settings that users like.
_COMMON_MIB = (50, 8, 5, 16, 64, 10, 15, 25, 32, 100, 128, 256, 512, 1024)
# Each further guess reads the whole file.
_MOST_GUESSES = 4
_READ_BYTES = MIB


def grow_part_size(size: int, part_size: int) -> int:
    """Return a part size with which an object has at most 10,000 parts, in whole MiB if it grew."""
    if size <= part_size * MAX_PARTS:
        return part_size
    least = -(-size // MAX_PARTS)
    return -(-least // MIB) * MIB


def combine_md5s(md5s: Iterable[bytes]) -> str:
    """Return the ETag of an object from the MD5s of its parts."""
    parts = list(md5s)
    digest = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return f"{digest}-{len(parts)}"


def multipart_etag(
    path: str, size: int, part_size: int, check: Callable[[], None] | None = None
) -> str:
    """Return the ETag that a file has as an object in parts.

    Args:
        size: the number of its bytes.
        part_size: the bytes of each part but the last.
        check: called between reads; it raises to stop.

    Raises:
        OSError: the file cannot be read.
    """
    md5s = []
    with open(path, "rb", buffering=0) as file:
        for start in range(0, max(size, 1), part_size):
            digest = hashlib.md5(usedforsecurity=False)
            left = min(part_size, size - start)
            while left and (data := file.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
                if check is not None:
                    check()
            md5s.append(digest.digest())
    return combine_md5s(md5s)


def is_in_parts(etag: str) -> bool:
    """Return whether an ETag, without quotes, is that of an object in parts."""
    return _MULTIPART_ETAG.fullmatch(etag.lower()) is not None


def guess_part_sizes(size: int, etag: str, own: int) -> list[int]:
    """Return the part sizes that an object with this ETag may have, the most likely first.

    Empty: the ETag is not that of an object in parts, or no usual size gives so many.

    Args:
        size: the bytes of the object.
        etag: without quotes.
        own: the part size of this push.
    """
    found = _MULTIPART_ETAG.fullmatch(etag.lower())
    if found is None:
        return []
    count = int(found[1])
    if count == 1:  # any size that is large enough gives the same
        return [max(size, 1)]
    usual = [own, grow_part_size(size, own), *(each * MIB for each in _COMMON_MIB)]
    # Programs that keep to 10,000 parts: s3fs takes the least size that is enough, rclone and
    # asynclive the least in whole MiB, the command of AWS doubles.
    usual += [-(-size // MAX_PARTS), grow_part_size(size, 5 * MIB)]
    usual += [8 * MIB * 2**power for power in range(1, 10)]
    fitting = [each for each in usual if each and -(-size // each) == count]
    # Few whole MiB give this number of parts of a file of common size.
    least, most = -(-size // count), -(-size // (count - 1)) - 1
    fitting += [each * MIB for each in range(-(-least // MIB), most // MIB + 1)][:_MOST_GUESSES]
    return list(dict.fromkeys(fitting))[:_MOST_GUESSES]


def has_multipart_etag(
    path: str, size: int, etag: str, own: int, check: Callable[[], None] | None = None
) -> bool:
    """Return whether an object in parts has the bytes of a file. It reads the file.

    Args:
        path: the file.
        size: the bytes of the object, and of the file.
        etag: of the object, without quotes.
        own: the part size of this push.
        check: called between reads; it raises to stop.
    """
    return any(
        multipart_etag(path, size, part_size, check) == etag.lower()
        for part_size in guess_part_sizes(size, etag, own)
    )
