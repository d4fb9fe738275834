"""In a batch process: every case that batch_worker does not know, by FileStager."""

from __future__ import annotations

import pickle

from .._artifact.plan import PlannedFile
from .._cache.object_store import ObjectStore
from .small_files import FileStager
from .workspace_files import Batch, WorkspaceFiles


class BatchFallback:
    """In a worker process: stages what is not plain, and says what is wrong."""

    def __init__(self, worker: bytes) -> None:
        number, layout = pickle.loads(worker)
        self._store = ObjectStore(layout, f"p{number}-")

    def stage(self, asked: bytes) -> bytes:
        (request, isdir, beside), files = pickle.loads(asked)
        workspace = WorkspaceFiles(request, isdir, self._store, beside)
        batch, error = Batch(), None
        try:
            batch = FileStager(workspace).stage_batch(
                [PlannedFile(*file) for file in files], _never
            )
        except Exception as caught:
            error = caught
        batch.stored = [tuple(each) for each in batch.stored]  # type: ignore[misc]
        answer = batch, workspace.made, error, error and error.__cause__
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)


def _never() -> None:
    """A batch is short: cancellation is looked for between two of them."""
