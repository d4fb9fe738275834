"""MultipartUploader against a server of S3: parts, proofs, resuming and aborting."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.exceptions import EndpointConnectionError
from s3_server import Bucket

from asynclive import RemoteAccessError
from asynclive._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from asynclive._remote.remote_errors import RequestFailedError
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.multipart_etag import multipart_etag
from asynclive._remote.s3.multipart_upload import MultipartUploader, count_in_flight
from asynclive._remote.s3.open_uploads import abort_all, abort_uploads
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.s3.s3_requests import Patience, S3Requests
from asynclive._remote.s3.upload_journal import OpenUpload, UploadJournal
from asynclive._remote.store import (
    MissingObjectError,
    UnreadableObjectError,
    WrongObjectError,
)

T = TypeVar("T")
Hook = Callable[[Any], Any]
MIB = 2**20
PART = 5 * MIB
QUICK = Patience(tries=5, first_pause=0.001, longest_pause=0.001)


class Reply:
    """A reply of the remote, in place of a request."""

    raw = None

    def __init__(self, status: int, code: str = "", **headers: str) -> None:
        self.status_code = status
        self.headers = headers
        self.body = f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode()

    @property
    async def content(self) -> bytes:
        return self.body


class Sender:
    """Pushes of one file to a bucket."""

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
        self.requests: list[str] = []
        """The operations that were requested."""
        self.hooks: dict[str, Hook] = {}
        """Called with each request of an operation. A reply that is returned is taken as the
        remote's; None: the request is sent."""
        self.patience = QUICK
        self.s3: S3Requests
        """Set while a push runs."""
        self.on_bytes: Callable[[int], None] = self.done.append

    def run(self, work: Callable[[MultipartUploader], Awaitable[T]] | None = None) -> Any:
        async def main() -> Any:
            connection = S3Connection(self.remote, 4)
            self.s3 = S3Requests(connection, self.budget, self.patience)
            try:
                client = await connection.client()
                client.meta.events.register_first("before-send.s3", self._before_send)
                return await (work or self.send)(MultipartUploader(self.s3, self.journal, PART))
            finally:
                await connection.aclose()

        return asyncio.run(main())

    @property
    def remote(self) -> RemoteDescription:
        prefix = f"{self.bucket.name}/dvc/files/md5"
        return RemoteDescription("storage", "s3://bucket/dvc", "s3", prefix, self.options)

    async def send(self, uploader: MultipartUploader) -> tuple[VerifiedBy, int]:
        """Send the file; return the proof, and the bytes that were resumed."""
        sent = await uploader.send(self.obj, str(self.path), self.on_bytes)
        return sent.verified_by, sent.resumed_bytes

    def _before_send(self, request: Any, event_name: str, **_: Any) -> Any:
        operation = event_name.rpartition(".")[2]
        self.requests.append(operation)
        hook = self.hooks.get(operation)
        return None if hook is None else hook(request)

    def run_until(self, parts: int) -> None:
        """Cancel a push once it has sent some parts."""

        async def work(uploader: MultipartUploader) -> None:
            def on_bytes(size: int) -> None:
                self.done.append(size)
                if len(self.done) == parts:
                    task.cancel()

            self.on_bytes = on_bytes
            task = asyncio.ensure_future(self.send(uploader))
            with pytest.raises(asyncio.CancelledError):
                await task

        self.run(work)
        self.on_bytes = self.done.append
        self.done.clear()
        self.requests.clear()

    def check_sent(self) -> None:
        """Check that the object is there, and that nothing is left open."""
        assert self.bucket.get(self.key) == self.content
        self.check_nothing_open()
        assert sum(self.done) == self.obj.size

    def check_nothing_open(self) -> None:
        assert self.bucket.uploads() == []
        assert self.journal.entries() == {}


def times(count: int, reply: Reply) -> Hook:
    """Answer the first requests with a reply."""
    left = iter([reply] * count)
    return lambda _: next(left, None)


@pytest.fixture
def sender(bucket: Bucket, tmp_path: Path) -> Sender:
    return Sender(bucket, tmp_path)


def test_a_file_is_sent_in_parts_and_proven(sender: Sender) -> None:
    assert sender.run() == ("etag", 0)
    sender.check_sent()
    stored = sender.bucket.objects()[sender.key]
    assert stored.etag == multipart_etag(str(sender.path), sender.obj.size, PART)
    assert os.listdir(sender.path.parent / "tmp" / "uploads") == []


def test_a_push_that_was_cut_off_is_resumed(sender: Sender) -> None:
    sender.budget = RequestBudget(1)
    sender.run_until(parts=2)
    [upload] = sender.bucket.uploads()
    assert sender.bucket.uploaded_bytes(upload) == 2 * PART
    [entry] = sender.journal.entries().values()
    assert entry.upload_id == upload.upload_id
    assert sender.run() == ("etag", 2 * PART)
    assert sender.requests.count("UploadPart") == 2
    sender.check_sent()


def test_a_part_in_the_remote_that_has_other_bytes_is_sent_again(sender: Sender) -> None:
    sender.budget = RequestBudget(1)
    sender.run_until(parts=2)
    [upload] = sender.bucket.uploads()
    sender.bucket.client.upload_part(
        Bucket=sender.bucket.name,
        Key=upload.key,
        UploadId=upload.upload_id,
        PartNumber=1,
        Body=bytes(PART),
    )
    assert sender.run() == ("etag", PART)
    sender.check_sent()


def test_an_upload_that_is_gone_begins_again(sender: Sender) -> None:
    sender.run_until(parts=2)
    for upload in sender.bucket.uploads():
        sender.bucket.client.abort_multipart_upload(
            Bucket=sender.bucket.name, Key=upload.key, UploadId=upload.upload_id
        )
    assert sender.run() == ("etag", 0)
    sender.check_sent()


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_vanishes_while_it_is_sent_begins_again(
    sender: Sender, operation: str
) -> None:
    sender.hooks[operation] = times(1, Reply(404, "NoSuchUpload"))
    assert sender.run() == ("etag", 0)
    assert sender.requests.count("CreateMultipartUpload") == 2
    assert sender.bucket.get(sender.key) == sender.content
    assert sum(sender.done) == sender.obj.size


def test_the_reply_to_a_completed_upload_may_be_lost(sender: Sender) -> None:
    def complete(request: Any) -> Reply | None:
        if sender.requests.count("CompleteMultipartUpload") > 1:
            return None
        [upload] = sender.bucket.uploads()
        listed = sender.bucket.client.list_parts(
            Bucket=sender.bucket.name, Key=upload.key, UploadId=upload.upload_id
        )["Parts"]
        sender.bucket.client.complete_multipart_upload(
            Bucket=sender.bucket.name,
            Key=upload.key,
            UploadId=upload.upload_id,
            MultipartUpload={
                "Parts": [{name: part[name] for name in ("PartNumber", "ETag")} for part in listed]
            },
        )
        return Reply(500, "InternalError")

    sender.hooks["CompleteMultipartUpload"] = complete
    assert sender.run() == ("etag", 0)
    assert sender.requests.count("CreateMultipartUpload") == 1
    sender.check_sent()


def test_an_upload_of_a_process_that_was_killed_at_its_beginning_is_aborted(
    sender: Sender,
) -> None:
    # Another machine's, of the same object: it has a part.
    other = sender.bucket.client.create_multipart_upload(Bucket=sender.bucket.name, Key=sender.key)[
        "UploadId"
    ]
    sender.bucket.client.upload_part(
        Bucket=sender.bucket.name, Key=sender.key, UploadId=other, PartNumber=1, Body=bytes(PART)
    )

    async def begin_and_die(uploader: MultipartUploader) -> None:
        def die(_: Any) -> None:
            sender.bucket.client.create_multipart_upload(Bucket=sender.bucket.name, Key=sender.key)
            task.cancel()

        sender.hooks["CreateMultipartUpload"] = die
        task = asyncio.ensure_future(sender.send(uploader))
        with pytest.raises(asyncio.CancelledError):
            await task

    sender.run(begin_and_die)
    [entry] = sender.journal.entries().values()
    assert entry.upload_id is None
    sender.hooks.clear()
    assert sender.run() == ("etag", 0)
    assert [upload.upload_id for upload in sender.bucket.uploads()] == [other]
    assert sender.journal.entries() == {}


def test_two_that_send_one_object_at_once_do_not_share_an_upload(sender: Sender) -> None:
    async def both(uploader: MultipartUploader) -> list[Any]:
        return await asyncio.gather(sender.send(uploader), sender.send(uploader))

    assert sender.run(both) == [("etag", 0), ("etag", 0)]
    assert sender.requests.count("CreateMultipartUpload") == 2
    assert sender.bucket.get(sender.key) == sender.content
    sender.check_nothing_open()


def test_uploads_that_are_not_needed_any_more_are_aborted(sender: Sender) -> None:
    sender.run_until(parts=1)

    async def abort(uploader: MultipartUploader) -> list[str]:
        kept = await abort_uploads(sender.s3, sender.journal, lambda _: False)
        assert kept == []
        gone = await abort_uploads(sender.s3, sender.journal, lambda _: True)
        return [upload.md5 for upload in gone]

    assert sender.run(abort) == [sender.obj.md5]
    sender.check_nothing_open()


def test_all_open_uploads_of_a_remote_are_aborted_on_demand(sender: Sender) -> None:
    sender.run_until(parts=1)
    state_dir = str(sender.path.parent / "tmp")
    other = dataclasses.replace(sender.remote, prefix="other/dvc/files/md5")
    assert abort_all(other, state_dir) == []
    assert [upload.key for upload in abort_all(sender.remote, state_dir)] == [sender.key]
    sender.check_nothing_open()


def test_an_upload_that_cannot_be_aborted_stays_in_the_journal(sender: Sender) -> None:
    sender.run_until(parts=1)
    sender.hooks["AbortMultipartUpload"] = lambda _: Reply(403, "AccessDenied")

    async def abort(_: MultipartUploader) -> list[OpenUpload]:
        return await abort_uploads(sender.s3, sender.journal, lambda _: True)

    assert sender.run(abort) == []
    assert len(sender.journal.entries()) == 1
    sender.hooks.clear()
    assert sender.run()[1]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503, "SlowDown"),
        Reply(500, "InternalError"),
        Reply(400, "BadDigest"),
        Reply(400, "RequestTimeout"),
        Reply(502),
    ],
)
def test_a_part_that_fails_for_now_is_sent_again(sender: Sender, reply: Reply) -> None:
    sender.hooks["UploadPart"] = times(3, reply)
    assert sender.run() == ("etag", 0)
    assert sender.requests.count("UploadPart") == 4 + 3
    sender.check_sent()
    assert (sender.budget.limit < 4) == (reply.status_code == 503)


def test_a_part_that_fails_each_time_keeps_the_upload_for_later(sender: Sender) -> None:
    sender.hooks["UploadPart"] = lambda request: (
        Reply(500, "InternalError") if "partNumber=3" in request.url else None
    )
    with pytest.raises(RequestFailedError, match="InternalError"):
        sender.run()
    assert len(sender.bucket.uploads()) == len(sender.journal.entries()) == 1
    sender.hooks.clear()
    sender.done.clear()
    assert sender.run()[1] >= 2 * PART
    sender.check_sent()


def test_a_remote_that_is_gone_is_an_error_and_the_next_push_goes_on(sender: Sender) -> None:
    sender.patience = QUICK._replace(outage=0.01)
    sender.budget = RequestBudget(1)

    def refuse(request: Any) -> None:
        if sender.requests.count("UploadPart") > 2:
            raise EndpointConnectionError(endpoint_url=request.url, error=OSError("refused"))

    sender.hooks["UploadPart"] = refuse
    with pytest.raises(RemoteAccessError, match=r"does not answer \(refused\)") as caught:
        sender.run()
    assert caught.value.option == "endpointurl"
    sender.hooks.clear()
    sender.done.clear()
    assert sender.run() == ("etag", 2 * PART)
    sender.check_sent()


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        (Reply(403, "AccessDenied"), "profile"),
        (Reply(404, "NoSuchBucket"), "url"),
        (Reply(403, "SignatureDoesNotMatch"), "access_key_id"),
        (Reply(400, "ExpiredToken"), "session_token"),
    ],
)
def test_a_remote_that_refuses_is_an_error_at_once(
    sender: Sender, reply: Reply, option: str
) -> None:
    sender.hooks["CreateMultipartUpload"] = lambda _: reply
    with pytest.raises(RemoteAccessError) as caught:
        sender.run()
    assert caught.value.option == option
    assert sender.requests == ["CreateMultipartUpload"]


def test_expired_credentials_are_read_again(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("access_key_id", "secret_access_key"):
        del sender.options[name]
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = secret\n")
    sender.options["credentialpath"] = str(file)

    def refuse(request: Any) -> Reply | None:
        assert b"old" in request.headers["Authorization"]
        file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = secret\n")
        return Reply(400, "ExpiredToken")

    # A client that is made anew has no hooks.
    sender.hooks["UploadPart"] = refuse
    assert sender.run() == ("etag", 0)
    sender.check_sent()


def test_a_wrong_clock_is_corrected_by_the_time_of_the_remote(sender: Sender) -> None:
    dates = []

    def check(request: Any) -> Reply | None:
        dates.append(request.headers["X-Amz-Date"].decode())
        if dates[-1].startswith("2001"):
            return None
        return Reply(403, "RequestTimeTooSkewed", date=formatdate(10**9, usegmt=True))

    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        sender.hooks[operation] = check
    assert sender.run() == ("etag", 0)
    assert [date[:8] for date in dates[1:]] == ["20010909"] * 6
    sender.check_sent()


def test_a_clock_that_cannot_be_corrected_is_an_error(sender: Sender) -> None:
    sender.hooks["CreateMultipartUpload"] = lambda _: Reply(403, "RequestTimeTooSkewed")
    with pytest.raises(RemoteAccessError, match="clock of this machine"):
        sender.run()


def test_a_file_that_is_corrupt_in_the_cache_never_becomes_an_object(sender: Sender) -> None:
    sender.path.write_bytes(bytes(sender.obj.size))
    with pytest.raises(UnreadableObjectError, match="in the cache"):
        sender.run()
    assert sender.bucket.keys() == set()
    sender.check_nothing_open()


def test_a_file_that_is_too_short_is_an_error(sender: Sender) -> None:
    sender.path.write_bytes(sender.content[:-1])
    with pytest.raises(UnreadableObjectError, match="fewer bytes"):
        sender.run()
    sender.check_nothing_open()


def test_a_file_that_is_missing_is_an_error(sender: Sender) -> None:
    sender.path.unlink()
    with pytest.raises(MissingObjectError, match="not in the cache"):
        sender.run()
    sender.check_nothing_open()


def test_a_remote_that_stores_other_bytes_is_found_out(sender: Sender) -> None:
    def damage(request: Any) -> None:
        if "partNumber=2" in request.url:
            request.body.getbuffer()[0] ^= 1

    sender.hooks["UploadPart"] = damage
    with pytest.raises(WrongObjectError, match="part 2"):
        sender.run()
    assert sender.bucket.keys() == set()
    sender.check_nothing_open()


def test_an_object_that_is_wrong_after_all_is_removed(sender: Sender) -> None:
    def mix(request: Any) -> None:
        request.body = request.body.replace(b"<PartNumber>2<", b"<PartNumber>9<")
        request.body = b"".join(
            (b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',)
            + tuple(
                b"<Part>" + part
                for part in request.body.split(b"<Part>")[1:]
                if b"<PartNumber>9<" not in part
            )
        )
        request.headers["Content-Length"] = str(len(request.body))

    sender.hooks["CompleteMultipartUpload"] = mix
    with pytest.raises(WrongObjectError, match="completed"):
        sender.run()
    assert sender.bucket.keys() == set()
    sender.check_nothing_open()


@pytest.mark.parametrize(
    "options",
    [
        {"sse": "aws:kms"},
        {"sse": "aws:kms", "sse_kms_key_id": "a-key"},
        {"sse_customer_key": base64.b64encode(bytes(32)).decode()},
    ],
)
def test_objects_that_a_key_encrypts_are_proven_by_checksums(
    sender: Sender, options: dict[str, str]
) -> None:
    sender.options.update(options)
    assert sender.run() == ("checksum", 0)
    sender.check_nothing_open()


def test_a_bucket_that_encrypts_with_a_key_of_its_own_is_noticed(sender: Sender) -> None:
    def create(_: Any) -> Reply | None:
        if sender.requests.count("CreateMultipartUpload") > 1:
            return None
        upload_id = sender.bucket.client.create_multipart_upload(
            Bucket=sender.bucket.name, Key=sender.key
        )["UploadId"]
        reply = Reply(200, **{"x-amz-server-side-encryption": "aws:kms"})
        reply.body = f"<Result><UploadId>{upload_id}</UploadId></Result>".encode()
        return reply

    sender.hooks["CreateMultipartUpload"] = create
    assert sender.run() == ("checksum", 0)
    assert sender.requests.count("CreateMultipartUpload") == 2
    sender.check_sent()


def test_memory_holds_no_more_parts_than_permits(bucket: Bucket, tmp_path: Path) -> None:
    sender = Sender(bucket, tmp_path, size=8 * PART)
    sender.budget = RequestBudget(2)
    inside, most = 0, 0

    def begin(_: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)

    async def send(uploader: MultipartUploader) -> Any:
        client = await sender.s3.connection.client()

        def end(**_: Any) -> None:
            nonlocal inside
            inside -= 1

        client.meta.events.register("response-received.s3.UploadPart", end)
        return await sender.send(uploader)

    sender.hooks["UploadPart"] = begin
    assert sender.run(send) == ("etag", 0)
    assert most <= 2


@pytest.mark.parametrize(
    ("size_mib", "part_mib", "in_flight"),
    [
        (400, 8, 4),  # a kill loses 32 MiB
        (24, 5, 4),
        (8000, 8, 16),  # as many as there are permits
        (1_000_000, 105, 1),  # the memory for 16 parts of 8 MiB holds one
    ],
)
def test_the_parts_in_flight_are_few_enough_for_a_kill_and_for_the_memory(
    size_mib: int, part_mib: int, in_flight: int
) -> None:
    count = -(-size_mib // part_mib)
    assert min(16, count_in_flight(count, part_mib * MIB, 16 * 8 * MIB)) == in_flight
