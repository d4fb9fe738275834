"""The counts of one artifact while its files are staged."""

from __future__ import annotations

from asynclive._instrumentation.staging_progress import StagingProgress


class File:
    done_bytes = 0


def test_a_file_in_work_counts_once_when_it_is_done() -> None:
    progress, file = StagingProgress(100, 1), File()
    with progress.in_work(file):
        file.done_bytes = 99
        assert (progress.bytes_done, progress.files_done) == (99, 0)
        assert progress.changes_unseen
    progress.count(1, 100)
    assert (progress.bytes_done, progress.files_done) == (100, 1)
    assert not progress.changes_unseen
