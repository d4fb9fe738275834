"""MultipartUploader against a server of S3: parts, proofs, resuming and aborting."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from s3_server import Bucket

from asynclive._artifact.push_records import PushObject, RemoteDescription
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.multipart_etag import multipart_etag
from asynclive._remote.s3.multipart_upload import MultipartUploader
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.s3.s3_requests import Patience, S3Requests
from asynclive._remote.s3.upload_journal import UploadJournal
from asynclive._remote.store import Sent

T = TypeVar("T")
MIB = 2**20
PART = 5 * MIB
QUICK = Patience(first_pause=0.001, longest_pause=0.001)


class Sender:
    """One push of one file to a bucket."""

    def __init__(self, bucket: Bucket, directory: Path, size: int = 3 * PART + 5) -> None:
        self.bucket = bucket
        self.journal = UploadJournal(str(directory / "tmp"))
        self.path = directory / "object"
        self.content = random.Random(0).randbytes(size)
        self.path.write_bytes(self.content)
        self.obj = PushObject(hashlib.md5(self.content).hexdigest(), size, "model.pt")
        self.key = f"dvc/files/md5/{self.obj.md5[:2]}/{self.obj.md5[2:]}"
        self.options: dict[str, Any] = {**bucket.options()}
        self.budget = RequestBudget(4)
        self.done: list[int] = []

    def run(self, work: Callable[[MultipartUploader], Awaitable[T]]) -> T:
        async def main() -> T:
            remote = RemoteDescription(
                "storage",
                "s3://bucket/dvc",
                "s3",
                f"{self.bucket.name}/dvc/files/md5",
                self.options,
            )
            connection = S3Connection(remote, 4)
            requests = S3Requests(connection, self.budget, QUICK)
            try:
                return await work(MultipartUploader(requests, self.journal, PART))
            finally:
                await connection.aclose()

        return asyncio.run(main())

    async def send(self, uploader: MultipartUploader) -> Sent:
        return await uploader.send(self.obj, str(self.path), self.done.append)


@pytest.fixture
def sender(bucket: Bucket, tmp_path: Path) -> Sender:
    return Sender(bucket, tmp_path)


def test_a_file_is_sent_in_parts_and_proven(sender: Sender) -> None:
    sent = sender.run(sender.send)
    assert sent == Sent("etag", 0, sender.bucket.objects()[sender.key].etag)
    assert sender.bucket.get(sender.key) == sender.content
    stored = sender.bucket.objects()[sender.key]
    assert stored.etag == multipart_etag(str(sender.path), sender.obj.size, PART)
    assert sum(sender.done) == sender.obj.size
    assert sender.bucket.uploads() == []
    assert sender.journal.entries() == {}
    assert os.listdir(sender.path.parent / "tmp" / "uploads") == []
