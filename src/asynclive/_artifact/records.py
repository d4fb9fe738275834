"""The records that an artifact is handed forward in: staged, tracked, logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .placement import Placement
from .request import ArtifactRequest


class StoredFile(NamedTuple):
    """One file whose bytes are in the DVC cache. A tuple: there are as many as files."""

    key: tuple[str, ...]
    """Its place in the artifact; ``()`` when the artifact is the file."""
    md5: str
    size: int
    isexec: bool
    inode: int
    """Inode and mtime of the workspace file these bytes are in, for DVC's state."""
    mtime_ns: int

    @property
    def fingerprint(self) -> tuple[int, int]:
        """What a file that is replaced or written does not keep."""
        return self.inode, self.mtime_ns

    @property
    def mtime(self) -> float:
        """In seconds, rounded as ``os.stat`` does it, which is what DVC's state compares."""
        seconds, nanoseconds = divmod(self.mtime_ns, 10**9)
        return seconds + 1e-9 * nanoseconds


@dataclass(frozen=True, slots=True)
class StagedArtifact:
    """The bytes are in the cache, a copy lies complete beside its place; nothing refers to them."""

    request: ArtifactRequest
    isdir: bool
    size: int
    nfiles: int
    files: tuple[StoredFile, ...] = field(repr=False, default=())
    """Empty when the artifact is not cached, or is a directory known by ``tree_md5``."""
    tree_md5: str | None = None
    """Of a directory in which nothing has changed since it was logged: the name of its object."""
    hashes_saved: bool = False
    """DVC's state has been told of these files."""
    placement: Placement | None = None
    """What waits to take its place in the workspace: a copy, or links; None: nothing."""
    record: PendingHashes | None = field(repr=False, default=None)
    """What will be known of its files once it is tracked."""


@dataclass(frozen=True, slots=True)
class TrackedArtifact:
    """DVC tracks it: the .dvc file is written, the workspace is as it will stay."""

    staged: StagedArtifact
    md5: str | None
    """As in the .dvc file (``….dir`` for a directory); None when not cached."""
    dvc_file: str | None
    take_back: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Leaves all as it was, for when it cannot be recorded: in the thread for DVC, under the same
    hold of DVC's lock."""


@dataclass(frozen=True, slots=True)
class LoggedArtifact:
    """What ``log_artifact`` returns: an artifact that is tracked and recorded.

    Attributes:
        name: name in dvc.yaml; where no entry was wanted, the name it would have had.
        path: the tracked path, absolute; with ``copy`` that of the copy.
        type: as given.
        desc: as given.
        labels: as given, a copy.
        meta: as given, a copy.
        md5: hash as in the .dvc file, of a directory with ``.dir`` at the end; of a path inside
            a tracked directory its own; None when it was not cached.
        size: bytes of all files together.
        nfiles: number of files; 1 for a file.
        dvc_file: the .dvc file that points at it, absolute; None when it was not cached.
    """

    name: str
    path: Path
    type: str | None
    desc: str | None
    labels: list[str] | None
    meta: dict[Any, Any] | None
    md5: str | None
    size: int
    nfiles: int
    dvc_file: Path | None

    @classmethod
    def from_tracked(cls, tracked: TrackedArtifact) -> LoggedArtifact:
        request = tracked.staged.request
        return cls(
            name=request.name,
            path=Path(request.path),
            type=request.type,
            desc=request.desc,
            labels=request.labels,
            meta=request.meta,
            md5=tracked.md5,
            size=tracked.staged.size,
            nfiles=tracked.staged.nfiles,
            dvc_file=None if tracked.dvc_file is None else Path(tracked.dvc_file),
        )


Subject = dict[str, object]
"""Which artifact it is of: it counts for no other."""


@dataclass(frozen=True, slots=True)
class PendingHashes:
    """What will be known of an artifact, once it is tracked."""

    temp: str
    """Is to be removed where this is not published."""
    path: str
    subject: Subject
    count: int
    is_complete: bool
    """It is of all files of a directory."""
