"""The hash cache: the MD5 of each file of an artifact that was logged before, by stat record.

A file with the same size, inode, mtime and ctime has the same bytes, so its MD5 is known without
reading it. DVC's state database has MD5s of workspace files only. The hash cache also has those
of sources that are copied, and reads a whole directory at once.

It is only a cache, below ``.dvc/tmp``: users may delete it at any time, and an entry in an
unknown format is ignored. Blocks; no DVC.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from .._artifact.plan import ArtifactPlan, PlannedFile
from .._artifact.records import PendingHashes, StoredFile
from .._artifact.request import ArtifactRequest
from . import hash_cache_file
from .cache_layout import CacheLayout
from .hash_cache_file import CachedHash

# Artifacts smaller than this are not cached: reading them is as fast as a lookup.
MIN_CACHED_BYTES = 2**20
# A write within one tick of the file system's clock leaves the times as they were. So the MD5 of a
# file that was younger than a tick when it was read is not cached. Times without a fraction of a
# second come from a file system with long ticks.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * 10**9
_VERSION = 1


@dataclass(frozen=True, slots=True)
class HashCacheEntry:
    """The cached hashes of one artifact."""

    tree_md5: str | None = None
    """MD5 of the object that lists exactly these files, if the artifact is a directory."""
    files: dict[tuple[str, ...], CachedHash] = field(default_factory=dict, repr=False)

    def lookup(self, planned: PlannedFile) -> CachedHash | None:
        """Return the cached hash of a file, or None if there is none or the file has changed."""
        known = self.files.get(planned.key)
        return known if known is not None and known[:4] == _stat_key(planned) else None

    def stored_file(self, planned: PlannedFile) -> StoredFile:
        """Return the record of a file that is unchanged and in the cache."""
        _, _, _, _, md5, inode, mtime_ns = self.files[planned.key]
        isexec = bool(planned.mode & 0o111)
        return StoredFile(planned.key, md5, planned.size, isexec, inode, mtime_ns)


class HashCache:
    """The cached hashes of one repository: one file for each artifact."""

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._numbers = itertools.count()

    def load(
        self, request: ArtifactRequest, checkpoint: Callable[[], None] = lambda: None
    ) -> HashCacheEntry:
        """Return the cached hashes of an artifact; an empty entry if there are none.

        ``checkpoint`` is called every few hundred files, and raises to stop.
        """
        return HashCacheEntry(
            *hash_cache_file.read(self._path(request), _subject(request), checkpoint)
        )

    def has(self, request: ArtifactRequest) -> bool:
        """Return whether the artifact may have cached hashes. One system call."""
        return os.path.exists(self._path(request))

    def prepare(
        self,
        plan: ArtifactPlan,
        files: Sequence[StoredFile],
        read_at_ns: int,
        checkpoint: Callable[[], None] = lambda: None,
        doubtful: Collection[tuple[str, ...]] = (),
    ) -> PendingHashes | None:
        """Write the hashes of an artifact to a temp file, to publish once it is tracked.

        Args:
            plan: the files of the artifact as they were planned.
            files: the same files as they are in the cache, and will be in the workspace.
            read_at_ns: when reading them began, in ns since the epoch.
            checkpoint: called every few hundred files; raises to stop.
            doubtful: the keys of files whose hashes must not be cached.

        Returns:
            None if the temp file cannot be written. Logging goes on without it.
        """
        planned = {file.key: file for file in plan.files}
        settled = (
            (file.key, CachedHash(*_stat_key(source), file.md5, file.inode, file.mtime_ns))
            for file in files
            if _is_settled(source := planned[file.key], read_at_ns) and file.key not in doubtful
        )
        return hash_cache_file.prepare(
            os.path.join(self._layout.workspace_tmp, f"known-{next(self._numbers)}"),
            self._path(plan.request),
            _subject(plan.request),
            settled,
            len(plan.files) if plan.isdir else None,
            checkpoint,
        )

    def _path(self, request: ArtifactRequest) -> str:
        name = hashlib.sha256(os.fsencode(request.path)).hexdigest()[:32]
        return os.path.join(self._layout.hash_cache_dir, name)


def _subject(request: ArtifactRequest) -> dict[str, object]:
    return {"version": _VERSION, "source": request.source, "copy": request.copy}


def _stat_key(planned: PlannedFile) -> tuple[int, int, int, int]:
    return planned.size, planned.inode, planned.mtime_ns, planned.ctime_ns


def _is_settled(planned: PlannedFile, read_at_ns: int) -> bool:
    """Return whether any write after ``read_at_ns`` changes the times of the file."""
    written_at_ns = max(planned.mtime_ns, planned.ctime_ns)
    tick_ns = _TICK_NS if written_at_ns % 10**9 else _COARSE_TICK_NS
    return written_at_ns < read_at_ns - tick_ns
