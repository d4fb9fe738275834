"""Stages small files in batches: reads, hashes and stores each, and makes what the workspace gets.

Blocking: it runs in worker threads, and in batch processes for directories of very many small
files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .._artifact.plan import PlannedFile, check_unchanged
from .._cache.hash_cache import HashCacheEntry
from .._errors import ArtifactPathError
from .._fs.change_detection import has_writer
from .._fs.file_io import READ, write_new
from .os_errors import translate_os_errors
from .workspace_files import Batch, WorkspaceFiles

# Files between two checks for cancellation. The check and the block that translates errors cost as
# much as a file.
CHECKED_FILES = 16


@dataclass(slots=True)
class FileStager:
    """Stages files of one artifact, several at once."""

    workspace: WorkspaceFiles
    known: HashCacheEntry = field(default_factory=HashCacheEntry)
    """The cached hashes of the artifact."""

    def use_hashes(self, known: HashCacheEntry) -> None:
        """Do not read files again that have a cached hash."""
        self.known = known

    def known_md5(self, planned: PlannedFile) -> str | None:
        """Return the cached MD5 of an unchanged file if its object exists, else None."""
        same, store = self.known.lookup(planned), self.workspace.store
        if same is None:
            return None
        is_stored = store.has_synced(same.md5, planned.size, self.workspace.checkpoint)
        return same.md5 if is_stored else None

    def stage_batch(self, files: Sequence[PlannedFile], checkpoint: Callable[[], None]) -> Batch:
        """Stage small files; ``checkpoint`` is called now and then and raises to stop.

        Raises:
            ArtifactChangedError: a file has changed since it was planned.
            ArtifactPathError: a file has more or fewer bytes than the system says.
            StorageError: reading or writing failed.
        """
        batch = Batch()
        for start in range(0, len(files), CHECKED_FILES):
            checkpoint()
            with translate_os_errors(self.workspace.request.source):
                for planned in files[start : start + CHECKED_FILES]:
                    self._stage_small(planned, batch)
        return batch

    def _stage_small(self, planned: PlannedFile, batch: Batch) -> None:
        workspace = self.workspace
        # Every file of a copy is read: its bytes are written again.
        md5 = None if workspace.copy_root else self.known_md5(planned)
        batch.count(planned, unchanged=md5 is not None)
        if md5 is not None:
            workspace.place(planned, md5, False, None, batch)
            return
        data, has_writer = _read_planned(workspace.source_path(planned), planned)
        if has_writer:
            batch.doubtful.append(planned.key)
        if not workspace.is_cached(planned):
            write_new(workspace.new_path(planned), data, planned.mode, planned.mtime_ns)
            return
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        workspace.place(planned, md5, workspace.store.put(data, md5), data, batch)


def _read_planned(path: str, planned: PlannedFile) -> tuple[bytes, bool]:
    """Return all bytes of a small file, unchanged since it was planned, and whether it has writers.

    Raises:
        ArtifactChangedError: it has changed, before the read or during it.
        ArtifactPathError: its size is not the number of its bytes.
    """
    size = planned.size
    fd = os.open(path, READ)
    try:
        is_doubtful = has_writer(fd)
        try:
            data = os.read(fd, size + 1)
            while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
        except OSError:  # it may no longer be a regular file
            check_unchanged(os.fstat(fd), planned, path)
            raise
        check_unchanged(os.fstat(fd), planned, path)
    finally:
        os.close(fd)
    if len(data) != size:
        raise ArtifactPathError(
            path,
            f"is not a regular file: the system reports {size} bytes, but a read returns "
            f"{'more' if len(data) > size else len(data)}, as with files in /proc. Copy its bytes "
            "to a regular file, and log that file.",
        )
    return data, is_doubtful
