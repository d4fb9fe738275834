"""The records that the steps of an artifact return: staged, tracked, logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .._errors import CommitError
from .request import ArtifactRequest

if TYPE_CHECKING:
    # Late: making the classes of a placement takes a millisecond, and only a stage needs them.
    from .placement import Placement


class StoredFile(NamedTuple):
    """One file whose bytes are in the DVC cache. A tuple, since there is one for each file."""

    key: tuple[str, ...]
    """Its path in the artifact; ``()`` if the artifact is the file."""
    md5: str
    size: int
    isexec: bool
    inode: int
    """Inode and mtime of the workspace file with these bytes, for DVC's state."""
    mtime_ns: int

    @property
    def fingerprint(self) -> tuple[int, int]:
        """Inode and mtime (ns). A file that is replaced or written gets another one."""
        return self.inode, self.mtime_ns

    @property
    def mtime(self) -> float:
        """In seconds, rounded as ``os.stat`` rounds: DVC's state compares this number."""
        seconds, nanoseconds = divmod(self.mtime_ns, 10**9)
        return seconds + 1e-9 * nanoseconds


class HashedFile(Protocol):
    """A file whose MD5 is known."""

    @property
    def md5(self) -> str: ...

    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StagedArtifact:
    """The bytes are in the cache, and new workspace files at temp paths. Nothing refers to them."""

    request: ArtifactRequest
    isdir: bool
    size: int
    nfiles: int
    files: tuple[StoredFile, ...] = field(repr=False, default=())
    """Empty if the artifact is not cached, or is an unchanged directory with ``tree_md5``."""
    doubtful: frozenset[tuple[str, ...]] = field(repr=False, default=frozenset())
    """The keys of files whose hashes must not be cached: a process could write to them unseen."""
    tree_md5: str | None = None
    """MD5 of the object of a directory that is unchanged since it was logged."""
    unchanged: Mapping[tuple[str, ...], HashedFile] = field(repr=False, default_factory=dict)
    """The files of such a directory, by their paths in it."""
    hashes_saved: bool = False
    """Whether DVC's state has the hashes of these files already."""
    placement: Placement | None = None
    """The changes of the workspace that wait for the commit. None: there are none."""
    pending_hashes: PendingHashes | None = field(repr=False, default=None)
    """The hashes to publish in the hash cache once it is tracked."""

    @property
    def hashed_files(self) -> Iterable[tuple[tuple[str, ...], HashedFile]]:
        """The files that are in the cache, with their paths in the artifact."""
        return self.unchanged.items() or ((file.key, file) for file in self.files)

    @property
    def object_sizes(self) -> dict[str, int]:
        """The bytes of each object by its MD5, without that of a directory's listing."""
        return {file.md5: file.size for file in (self.unchanged.values() or self.files)}


class ObjectsMissingError(CommitError):
    """Objects were removed or cut off between staging and commit. ``hashes`` are their MD5s.

    The pipeline stores them again, so no caller of asynclive gets this error.
    """

    def __init__(self, path: str, hashes: set[str]) -> None:
        self.hashes = hashes
        super().__init__(path, f"{len(hashes)} of its objects are no longer in the cache.")


@dataclass(frozen=True, slots=True)
class TrackedArtifact:
    """DVC tracks the artifact: its .dvc file and its workspace files are in place."""

    staged: StagedArtifact
    md5: str | None
    """The MD5 as in the .dvc file (``….dir`` for a directory). None if it is not cached."""
    dvc_file: str | None
    output_md5: str | None = None
    """The MD5 of the output in its .dvc file, which may be a directory that contains the artifact.
    """
    undo: tuple[object, ...] = field(default=(), repr=False, compare=False)
    """The steps of its commit, as data for the committer, which takes them back if the artifact
    cannot be recorded."""


@dataclass(frozen=True, slots=True)
class LoggedArtifact:
    """An artifact that is tracked and recorded. ``log_artifact`` returns it.

    Attributes:
        name: the name in dvc.yaml. Without an entry there, the name that it would have had.
        path: the tracked path, absolute. With ``copy``, that of the copy.
        type: the argument.
        desc: the argument.
        labels: a copy of the argument.
        meta: a copy of the argument.
        md5: the MD5 as in the .dvc file; for a directory it ends with ``.dir``. For a path inside
            a tracked directory, its own. None if it was not cached.
        size: bytes of all files together.
        nfiles: number of files; 1 for a file.
        dvc_file: the .dvc file that tracks it, absolute. None if it was not cached.
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
        """Return the public record of a tracked artifact."""
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
"""Identifies the artifact of a file in the hash cache, as JSON."""


@dataclass(frozen=True, slots=True)
class PendingHashes:
    """Hashes in a temp file, which ``publish_hashes`` adds to the hash cache."""

    temp: str
    """The temp file. Must be removed if the hashes are not published."""
    path: str
    subject: Subject
    count: int
    is_complete: bool
    """Whether the file has all files of a directory."""
