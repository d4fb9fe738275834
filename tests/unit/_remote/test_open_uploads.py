"""Which open uploads are aborted, and which of them are only reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclive._remote.s3.open_uploads import forget_lost, is_abandoned
from asynclive._remote.s3.upload_journal import UploadJournal, new_upload

DAY = 24 * 3600
UPLOAD = new_upload("storage", None, "bucket", "dvc/files/md5/ab/cd", 100, 10, uses_sha256=False)


@pytest.mark.parametrize(
    ("in_cache", "in_remote", "days", "abandoned"),
    [
        (True, set(), 0, False),
        (True, set(), 6, False),
        (True, set(), 8, True),
        (False, set(), 0, True),
        (True, {"abcd"}, 0, True),
        (True, {"other"}, 0, False),
    ],
)
def test_an_upload_is_abandoned_if_no_push_goes_on_with_it(
    in_cache: bool, in_remote: set[str], days: int, abandoned: bool
) -> None:
    now = UPLOAD.begun + days * DAY
    assert is_abandoned(UPLOAD, lambda md5: in_cache and md5 == "abcd", in_remote, now) == abandoned


def test_uploads_to_a_remote_that_is_configured_no_more_are_reported_and_forgotten(
    tmp_path: Path,
) -> None:
    journal = UploadJournal(str(tmp_path))
    for remote in ("storage", "gone"):
        with journal.claim(None, "bucket", f"dvc/files/md5/ab/{remote}") as slot:
            slot.begin(UPLOAD._replace(remote=remote))
            slot.opened("id")
    with journal.claim(None, "bucket", "dvc/files/md5/ab/sent-now") as slot:
        slot.begin(UPLOAD._replace(remote="gone"))
        assert [upload.remote for upload in forget_lost(journal, {"storage"})] == ["gone"]
        assert len(journal.entries()) == 2
    assert {upload.remote for upload in journal.entries().values()} == {"storage", "gone"}
