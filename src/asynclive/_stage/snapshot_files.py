"""Bytes taken of a source that is its caller's again: what they are, and what is sure of it.

Blocking, called from worker threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .._artifact.plan import PlannedFile
from .._artifact.records import StoredFile
from .._fs.change_detection import marks_of, seconds_to_next_stamp


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The bytes of one large file, in a file that nobody else writes to."""

    planned: PlannedFile
    """The source, as it was."""
    path: str
    taken: PlannedFile
    """The same file, with the marks of the one at ``path``."""
    md5: str | None = None
    """Where it is known, ``path`` being its object; None: it is still to be hashed."""


def as_planned(planned: PlannedFile, path: str) -> PlannedFile:
    """The file, with the marks of another one that holds its bytes."""
    inode, mtime_ns = marks_of(os.stat(path))
    return planned._replace(inode=inode, mtime_ns=mtime_ns)


def without_doubtful(files: Sequence[StoredFile], released_at_ns: int) -> list[StoredFile]:
    """Take the marks from files whose next bytes may have the same ones.

    DVC's state would say of the newer bytes that they have the hash of the older.
    """
    return [
        file._replace(inode=0) if seconds_to_next_stamp(file.mtime_ns, released_at_ns) else file
        for file in files
    ]
