"""What is known of an artifact since it was last logged: the MD5 of each file, by its stat record.

A file whose size, inode and times are as they were holds the bytes that it held: its MD5 is
known without reading it. DVC's state says the same of the files in the workspace; this says it
of the sources of copies too, and of a directory all at once. It is a cache: it lies below
``.dvc/tmp``, may be deleted at any time, and what is not understood in it is not used.

Blocking and without DVC.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .._artifact.plan import ArtifactPlan, PlannedFile
from .._artifact.records import PendingHashes, StoredFile
from .._artifact.request import ArtifactRequest
from . import hash_cache_file
from .cache_layout import CacheLayout
from .hash_cache_file import CachedHash

# Below this an artifact is read again as quickly as it is looked up.
MIN_CACHED_BYTES = 2**20
# A file written within the tick of its file system's clock after it was read keeps its times: what
# is so young when it is read is not remembered. Where times have no fractions, a tick is long.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * 10**9
_VERSION = 1


@dataclass(frozen=True, slots=True)
class HashCacheEntry:
    """All that is known of one artifact."""

    tree_md5: str | None = None
    """Of a directory: its object, which lists just these files."""
    files: dict[tuple[str, ...], CachedHash] = field(default_factory=dict, repr=False)

    def lookup(self, planned: PlannedFile) -> CachedHash | None:
        """What is known of this file, if it is as it was."""
        known = self.files.get(planned.key)
        return known if known is not None and known[:4] == _marks(planned) else None

    def stored_file(self, planned: PlannedFile) -> StoredFile:
        """The record of a file that is as it was."""
        _, _, _, _, md5, inode, mtime_ns = self.files[planned.key]
        isexec = bool(planned.mode & 0o111)
        return StoredFile(planned.key, md5, planned.size, isexec, inode, mtime_ns)


class HashCache:
    """What is known in one repository, a file an artifact."""

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._numbers = itertools.count()

    def load(
        self, request: ArtifactRequest, checkpoint: Callable[[], None] = lambda: None
    ) -> HashCacheEntry:
        """What is known of the artifact tracked at ``request.path``, from ``request.source``."""
        return HashCacheEntry(
            *hash_cache_file.read(self._path(request), _subject(request), checkpoint)
        )

    def has(self, request: ArtifactRequest) -> bool:
        """Whether anything may be known of it."""
        return os.path.exists(self._path(request))

    def prepare(
        self,
        plan: ArtifactPlan,
        files: Sequence[StoredFile],
        read_at_ns: int,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> PendingHashes | None:
        """Write down what will be known once the artifact is tracked; None: nothing will.

        Args:
            plan: its files as they were planned.
            files: those in the cache, and in the workspace as it will be.
            read_at_ns: when its reading began (ns since the epoch).
            checkpoint: called every few hundred files; raises to stop.
        """
        planned = {file.key: file for file in plan.files}
        settled = (
            (file.key, CachedHash(*_marks(source), file.md5, file.inode, file.mtime_ns))
            for file in files
            if _is_settled(source := planned[file.key], read_at_ns)
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


def _marks(planned: PlannedFile) -> tuple[int, int, int, int]:
    return planned.size, planned.inode, planned.mtime_ns, planned.ctime_ns


def _is_settled(planned: PlannedFile, read_at_ns: int) -> bool:
    written_at_ns = max(planned.mtime_ns, planned.ctime_ns)
    tick_ns = _TICK_NS if written_at_ns % 10**9 else _COARSE_TICK_NS
    return written_at_ns < read_at_ns - tick_ns
