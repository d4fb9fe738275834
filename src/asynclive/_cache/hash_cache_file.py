"""The file format of the hash cache: one file with the hashes of one artifact.

It has lines of JSON: each has a list of some files, and the last line has the subject and the
number of files. Without a valid last line the whole file is ignored. Lines are short, so that
parsing one does not hold the GIL for long. Blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from .._artifact.records import PendingHashes, Subject
from .._fs.file_io import create

Key = tuple[str, ...]

_FILES_PER_LINE = 256


class CachedHash(NamedTuple):
    """The MD5 of a file with this stat record, and the fingerprint of its workspace file."""

    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    md5: str
    tracked_inode: int
    tracked_mtime_ns: int
    """Inode and mtime (ns) of the workspace file: of the copy, or of the file itself."""


def read(
    path: str, subject: Subject, checkpoint: Callable[[], None] = lambda: None
) -> tuple[str | None, dict[Key, CachedHash]]:
    """Return the MD5 of the directory's object, if known, and the cached hashes.

    Args:
        path: the file. If it is missing or invalid, or has another subject, the result is empty.
        subject: the artifact.
        checkpoint: called every few hundred files; raises to stop.
    """
    files: dict[Key, CachedHash] = {}
    last: Any = None
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                checkpoint()
                last = json.loads(line)
                if isinstance(last, list):
                    files.update((tuple(key), CachedHash(*rest)) for key, *rest in last)
        if last == {**subject, "files": len(files), "tree": last["tree"]}:
            return last["tree"], files
    except (OSError, ValueError, TypeError, LookupError):
        pass  # missing, incomplete, or in another format
    return None, {}


def prepare(
    temp: str,
    path: str,
    subject: Subject,
    files: Iterable[tuple[Key, CachedHash]],
    total: int | None,
    checkpoint: Callable[[], None] = lambda: None,
) -> PendingHashes | None:
    """Write the hashes to a temp file, without its last line; None: it cannot be written.

    Args:
        temp: the temp path.
        path: the path that ``publish_hashes`` renames it to.
        subject: the artifact.
        files: the files whose hashes may be cached.
        total: the number of all files in the directory; None: the artifact is a file.
        checkpoint: called every few hundred files. If it raises, the temp file is removed.
    """
    count = 0
    remaining = iter(files)
    try:
        with os.fdopen(create(temp), "w", encoding="utf-8") as lines:
            while some := [(key, *known) for key, known in islice(remaining, _FILES_PER_LINE)]:
                lines.write(json.dumps(some) + "\n")
                count += len(some)
                checkpoint()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temp)
        if isinstance(error, OSError):  # a cache: logging goes on without it
            return None
        raise
    return PendingHashes(temp, path, subject, count, count == total)


def publish_hashes(record: PendingHashes, md5: str | None) -> None:
    """Complete the temp file and rename it to its path: the artifact is tracked as ``md5``.

    Ignores errors: logging goes on without cached hashes.
    """
    tree = md5 if record.is_complete else None
    head = {**record.subject, "files": record.count, "tree": tree}
    with contextlib.suppress(OSError):
        with open(record.temp, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(head) + "\n")
        os.makedirs(os.path.dirname(record.path), 0o700, exist_ok=True)
        os.replace(record.temp, record.path)
