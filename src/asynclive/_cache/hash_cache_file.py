"""The file in which is written what is known of one artifact, and how it comes to be.

Lines of JSON: some files each, and last what it is all about, without which nothing of it
counts. A line is short, so that neither reading nor writing one holds the interpreter for long.
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

_LINE_FILES = 256


class CachedHash(NamedTuple):
    """The MD5 of a file that had this stat record, and the record of its copy."""

    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    md5: str
    tracked_inode: int
    tracked_mtime_ns: int
    """Of the workspace's file: of the copy, or of the file itself."""


def read(
    path: str, subject: Subject, checkpoint: Callable[[], None] = lambda: None
) -> tuple[str | None, dict[Key, CachedHash]]:
    """The MD5 of the tree, if it is known, and the files; none where it is not understood.

    ``checkpoint`` is called every few hundred files, and raises to stop.
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
        pass  # missing, cut short, or not ours
    return None, {}


def prepare(
    temp: str,
    path: str,
    subject: Subject,
    files: Iterable[tuple[Key, CachedHash]],
    total: int | None,
    checkpoint: Callable[[], None] = lambda: None,
) -> PendingHashes | None:
    """Write down the files; None: it could not be done.

    Args:
        temp: where to write.
        path: where it goes once it counts.
        subject: what it is of.
        files: those that are known.
        total: how many there are in the directory; None: it is not one.
        checkpoint: called every few hundred files; what it raises is raised, and nothing left.
    """
    count = 0
    remaining = iter(files)
    try:
        with os.fdopen(create(temp), "w", encoding="utf-8") as lines:
            while some := [(key, *known) for key, known in islice(remaining, _LINE_FILES)]:
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
    """The artifact is tracked, as ``md5``: from now on this is known."""
    tree = md5 if record.is_complete else None
    head = {**record.subject, "files": record.count, "tree": tree}
    with contextlib.suppress(OSError):
        with open(record.temp, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(head) + "\n")
        os.makedirs(os.path.dirname(record.path), 0o700, exist_ok=True)
        os.replace(record.temp, record.path)
