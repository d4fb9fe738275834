"""A process is killed while it sends a large file in parts; the next one sends the rest."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from programs import run_program
from s3_proxy import Hold, S3Proxy
from s3_server import Bucket

MIB = 2**20

_SEND = """
import asyncio, json, sys
from asynclive._artifact.push_records import PushObject, RemoteDescription
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.multipart_upload import MultipartUploader
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.s3.s3_requests import S3Requests
from asynclive._remote.s3.upload_journal import UploadJournal

md5, size, source, prefix, options, part_size = json.loads(sys.argv[1])

async def main():
    remote = RemoteDescription("storage", options["url"], "s3", prefix, options)
    budget = RequestBudget()
    connection = S3Connection(remote, budget.max_requests)
    try:
        uploader = MultipartUploader(
            S3Requests(connection, budget), UploadJournal("journal"), part_size
        )
        sent = await uploader.send(PushObject(md5, size, "model.pt"), source, lambda _: None)
        print(json.dumps([sent.verified_by, sent.resumed_bytes]))
    finally:
        await connection.aclose()

asyncio.run(main())
"""


class LargeFile:
    """A large file, and processes that send it through a proxy."""

    def __init__(self, bucket: Bucket, proxy: S3Proxy, directory: Path, size: int, part: int):
        self.bucket = bucket
        self.proxy = proxy
        self.directory = directory
        content = random.Random(0).randbytes(MIB) * (size // MIB)
        (directory / "object").write_bytes(content)
        self.md5 = hashlib.md5(content).hexdigest()
        self.size = size
        self.part = part

    def start(self) -> subprocess.Popen[str]:
        arguments: list[Any] = [
            self.md5,
            self.size,
            str(self.directory / "object"),
            f"{self.bucket.name}/dvc/files/md5",
            self.bucket.options(endpoint=self.proxy.endpoint),
            self.part,
        ]
        return run_program(self.directory, _SEND, json.dumps(arguments))

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def resume(self) -> int:
        """Send the rest; return the bytes that were resumed."""
        self.proxy.forget()
        process = self.start()
        out, err = process.communicate()
        assert process.returncode == 0, err
        verified_by, resumed_bytes = json.loads(out)
        assert verified_by == "etag"
        [key] = self.bucket.keys()
        assert hashlib.md5(self.bucket.get(key)).hexdigest() == self.md5
        assert self.bucket.uploads() == []
        assert not list((self.directory / "journal" / "uploads").iterdir())
        return int(resumed_bytes)


def test_the_parts_that_were_sent_before_a_kill_are_not_sent_again(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    file = LargeFile(bucket, proxy, tmp_path, 24 * MIB, 5 * MIB)
    hold = Hold()
    proxy.rule = lambda request: hold if request.part in (3, 4, 5) else None
    process = file.start()
    proxy.wait_until(lambda: sum(upload.succeeded for upload in proxy.uploads) == 2)
    hold.wait_until_reached()
    file.kill(process)
    proxy.rule = None
    hold.drop()
    assert file.resume() == 10 * MIB
    assert proxy.uploaded_bytes == 14 * MIB


def test_a_process_that_was_killed_while_an_upload_began_leaves_none_open(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    file = LargeFile(bucket, proxy, tmp_path, 12 * MIB, 5 * MIB)
    hold = Hold()
    proxy.rule = lambda request: hold if request.part is not None else None
    process = file.start()
    hold.wait_until_reached()
    file.kill(process)
    proxy.rule = None
    hold.drop()
    # As if the process had been killed before it could write the id.
    [entry] = (tmp_path / "journal" / "uploads").iterdir()
    entry.write_bytes(entry.read_bytes().split(b"\n")[0] + b"\n")
    assert len(bucket.uploads()) == 1
    assert file.resume() == 0


@pytest.mark.long
def test_a_kill_at_half_of_400_mib_costs_a_tenth(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    file = LargeFile(bucket, proxy, tmp_path, 400 * MIB, 8 * MIB)
    process = file.start()
    proxy.wait_until(lambda: proxy.uploaded_bytes >= file.size // 2)
    file.kill(process)
    file.resume()
    assert proxy.uploaded_bytes <= 0.6 * file.size
