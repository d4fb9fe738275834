"""The files and directories of one artifact, and how to tell that one changed while it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .._errors import ArtifactChangedError
from .request import ArtifactRequest


class PlannedFile(NamedTuple):
    """One regular file, with the stat record it had when it was planned.

    A tuple: there is one for each file, and a frozen dataclass takes five times as long to make.
    """

    key: tuple[str, ...]
    """Its path in the artifact; ``()`` if the artifact is the file."""
    size: int
    mode: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    nlink: int
    tracked: bool
    """False: it is copied, but ``.dvcignore`` excludes it from the cache."""
    link_target: str | None = None
    """If the file is a symlink, its target; the stat record is that of the target."""

    @property
    def islink(self) -> bool:
        """Whether it is reached through a symlink."""
        return self.link_target is not None

    @property
    def fingerprint(self) -> tuple[int, int]:
        """Inode and mtime (ns). A file that is replaced or written gets another one."""
        return self.inode, self.mtime_ns


@dataclass(frozen=True, slots=True)
class PlannedDir:
    """One directory of a tree that is copied."""

    key: tuple[str, ...]
    mode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ArtifactPlan:
    """The files and directories to copy and hash."""

    request: ArtifactRequest
    isdir: bool
    files: tuple[PlannedFile, ...] = field(repr=False)
    dirs: tuple[PlannedDir, ...] = field(repr=False)
    """Parents before children; empty if the artifact is logged in place."""
    moved_to: str | None = None
    """The temp path of the source, if it was logged with ``move=True``."""
    has_relative_links: bool = False
    """Whether a relative symlink was followed. From another directory it would lead elsewhere."""
    temp_dir: str = ""
    """The directory of temp files in which a copy is built, if a rename does not reach its
    destination from that of the session."""

    is_on_other_disk: bool = False
    """Whether its workspace files are on another disk than the session's directory of temp files.
    Links that share blocks or inodes with the cache are then not possible."""

    total_bytes: int = field(init=False)
    """Summed once, in the thread that plans, because the event loop reads it often."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_bytes", sum(file.size for file in self.files))

    @property
    def tracked(self) -> Iterator[PlannedFile]:
        """The files that go into the cache."""
        return (file for file in self.files if file.tracked)


def check_unchanged(now: os.stat_result, planned: PlannedFile, path: str) -> None:
    """Raise ArtifactChangedError if an open file has changed since it was planned.

    Args:
        now: the stat record of the open file.
        planned: the file as it was planned.
        path: its path, for the message.
    """
    if (now.st_ino, now.st_mtime_ns) != planned.fingerprint:
        raise ArtifactChangedError(path, "was replaced or written")
    if now.st_size != planned.size:
        raise ArtifactChangedError(path, "grew or shrank")
