"""Every case in a batch process that batch_worker does not handle, by FileStager."""

from __future__ import annotations

import pickle

from .._artifact.plan import PlannedFile
from .._cache.object_store import ObjectStore
from .small_files import FileStager
from .workspace_files import Batch, WorkspaceFiles


class BatchFallback:
    """Stages files that are not plain, or that failed in batch_worker, and reports their errors."""

    def __init__(self, worker: bytes) -> None:
        number, layout = pickle.loads(worker)
        self._store = ObjectStore(layout, f"p{number}-")

    def stage(self, pickled: bytes) -> bytes:
        """Stage the files of a pickled request, and return the pickled answer."""
        (request, isdir, copy_root, is_on_other_disk), files = pickle.loads(pickled)
        workspace = WorkspaceFiles(
            request, isdir, self._store, copy_root, is_on_other_disk=is_on_other_disk
        )
        batch, error = Batch(), None
        try:
            batch = FileStager(workspace).stage_batch(
                [PlannedFile(*file) for file in files], _no_checkpoint
            )
        except Exception as caught:
            error = caught
        batch.stored = [tuple(each) for each in batch.stored]  # type: ignore[misc]
        answer = batch, workspace.temp_paths, error, error and error.__cause__
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)


def _no_checkpoint() -> None:
    """Do nothing: the parent checks for cancellation between two batches."""
