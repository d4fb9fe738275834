"""Which open uploads are aborted, and which of them are only reported."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from s3_server import Bucket

from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.lazy_uploader import LazyUploader
from asynclive._remote.s3.open_uploads import forget_lost
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.s3.upload_journal import UploadJournal, new_upload

DAY = 24 * 3600
KEY = "dvc/files/md5/ab/cd"


@pytest.mark.parametrize(
    ("in_cache", "proven", "days", "is_kept"),
    [
        (True, set(), 0, True),
        (True, set(), 6, True),
        (True, set(), 8, False),
        (False, set(), 0, False),
        (True, {"abcd"}, 0, False),
        (True, {"other"}, 0, True),
    ],
)
def test_an_upload_is_aborted_if_no_push_goes_on_with_it(
    bucket: Bucket,
    tmp_path: Path,
    in_cache: bool,
    proven: set[str],
    days: int,
    is_kept: bool,
) -> None:
    upload_id = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=KEY)["UploadId"]
    journal = UploadJournal(str(tmp_path))
    upload = new_upload("storage", bucket.endpoint, bucket.name, KEY, 100, 10, uses_sha256=False)
    with journal.claim(bucket.endpoint, bucket.name, KEY) as slot:
        slot.begin(upload._replace(begun=upload.begun - days * DAY))
        slot.opened(upload_id)
    if in_cache:
        (tmp_path / "abcd").touch()
    remote = RemoteDescription(
        "storage", "s3://b/dvc", "s3", f"{bucket.name}/dvc/files/md5", bucket.options()
    )

    async def abort() -> None:
        uploader = LazyUploader(S3Connection(remote, 1), RequestBudget(1), str(tmp_path), 10)
        await uploader.abort_abandoned(lambda obj: str(tmp_path / obj.md5), proven)
        await uploader.aclose()

    asyncio.run(abort())
    assert bool(bucket.uploads()) == bool(journal.entries()) == is_kept


def test_old_uploads_to_a_remote_that_is_not_used_any_more_are_reported_and_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload = new_upload("gone", None, "bucket", KEY, 100, 10, uses_sha256=False)
    journal = UploadJournal(str(tmp_path))
    for remote in ("storage", "gone"):
        with journal.claim(None, "bucket", f"dvc/files/md5/ab/{remote}") as slot:
            slot.begin(upload._replace(remote=remote))
            slot.opened("the-id")
    forget_lost(journal, "storage", upload.begun + 29 * DAY)
    assert len(journal.entries()) == 2
    assert not caplog.records
    with journal.claim(None, "bucket", "dvc/files/md5/ab/sent-now") as slot:
        slot.begin(upload)
        forget_lost(journal, "storage", upload.begun + 31 * DAY)
        assert len(journal.entries()) == 2
        slot.forget()
    assert [left.remote for left in journal.entries().values()] == ["storage"]
    [record] = caplog.records
    assert "the-id" in record.getMessage()
