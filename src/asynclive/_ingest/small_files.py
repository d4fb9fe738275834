"""Stages the files of one artifact: bytes into the cache, and what the workspace gets of them.

Blocking, and without a look at the event loop: it runs in worker threads, and for directories
of very many small files in worker processes, to which it is sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .._artifact.plan import PlannedFile, check_unchanged
from .._cache.hash_cache import HashCacheEntry
from .._errors import ArtifactPathError
from .._fs.file_io import READ, write_new
from .os_errors import translate_os_errors
from .workspace_files import Batch, WorkspaceFiles

CHECKED_FILES = 16


@dataclass(slots=True)
class FileStager:
    """Stages files of one artifact, several at once."""

    workspace: WorkspaceFiles
    """Makes what the workspace gets of each file."""
    known: HashCacheEntry = field(default_factory=HashCacheEntry)

    def stage_batch(self, files: Sequence[PlannedFile], checkpoint: Callable[[], None]) -> Batch:
        batch = Batch()
        for start in range(0, len(files), CHECKED_FILES):
            # One look for cancellation, and one block that translates errors, for some files:
            # for each of them they would cost as much as the file.
            checkpoint()
            with translate_os_errors(self.workspace.request.source):
                for planned in files[start : start + CHECKED_FILES]:
                    self._stage_small(planned, batch)
        return batch

    def _stage_small(self, planned: PlannedFile, batch: Batch) -> None:
        workspace = self.workspace
        md5 = None if workspace.beside else self.known_md5(planned)
        batch.count(planned, unchanged=md5 is not None)
        if md5 is not None:
            workspace.place(planned, md5, False, None, batch)
            return
        data = _read_planned(workspace.source(planned), planned)
        if not workspace.is_cached(planned):
            write_new(workspace.target(planned), data, planned.mode, planned.mtime_ns)
            return
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        workspace.place(planned, md5, workspace.store.put(data, md5), data, batch)

    def known_md5(self, planned: PlannedFile) -> str | None:
        """The hash of a file that is known, and whose object is there."""
        same, store = self.known.same(planned), self.workspace.store
        return same.md5 if same is not None and store.holds(same.md5, planned.size) else None


def _read_planned(path: str, planned: PlannedFile) -> bytes:
    """All bytes of a small file, which is as it was planned before and after the read."""
    size = planned.size
    fd = os.open(path, READ)
    try:
        try:
            data = os.read(fd, size + 1)
            while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
        except OSError:  # not a file any more?
            check_unchanged(os.fstat(fd), planned, path)
            raise
        check_unchanged(os.fstat(fd), planned, path)
    finally:
        os.close(fd)
    if len(data) != size:
        raise ArtifactPathError(
            path,
            f"is no plain file: the system says that it holds {size} bytes, and gives "
            f"{'more' if len(data) > size else len(data)}, as of files in /proc. Write what it "
            "holds to a file, and log that.",
        )
    return data
