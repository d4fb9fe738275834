"""What there is to copy and hash, and by what a change of it under the read is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .._errors import ArtifactChangedError
from .request import ArtifactRequest


class PlannedFile(NamedTuple):
    """One regular file, with the marks by which a change under the read is found.

    A tuple: there are as many as files, and a frozen dataclass takes five times as long to make.
    """

    key: tuple[str, ...]
    size: int
    mode: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    nlink: int
    tracked: bool
    """False: copied along, but ``.dvcignore`` keeps it out of the cache."""
    link_target: str | None = None
    """What the link says, where it is one; the marks are those of the file behind it."""

    @property
    def islink(self) -> bool:
        """Reached through a symbolic link."""
        return self.link_target is not None

    @property
    def fingerprint(self) -> tuple[int, int]:
        """What a file that is replaced or written does not keep."""
        return self.inode, self.mtime_ns


@dataclass(frozen=True, slots=True)
class PlannedDir:
    """One directory of a tree to be copied."""

    key: tuple[str, ...]
    mode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ArtifactPlan:
    """Everything there is to copy and hash."""

    request: ArtifactRequest
    isdir: bool
    files: tuple[PlannedFile, ...] = field(repr=False)
    dirs: tuple[PlannedDir, ...] = field(repr=False)
    """Parents before children; empty when nothing is copied."""
    moved_to: str | None = None
    """Where the source is by now, if its caller gave it up."""
    has_relative_links: bool = False
    """A relative link was followed: from another directory it would lead elsewhere."""

    total_bytes: int = field(init=False)
    """Counted once, in the thread that plans: the event loop asks for it again and again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_bytes", sum(file.size for file in self.files))

    @property
    def tracked(self) -> Iterator[PlannedFile]:
        return (file for file in self.files if file.tracked)


def check_unchanged(now: os.stat_result, planned: PlannedFile, path: str) -> None:
    """Raise ArtifactChangedError unless the open file is as it was planned."""
    if (now.st_ino, now.st_mtime_ns) != planned.fingerprint:
        raise ArtifactChangedError(path, "was replaced or written")
    if now.st_size != planned.size:
        raise ArtifactChangedError(path, "grew or shrank")
