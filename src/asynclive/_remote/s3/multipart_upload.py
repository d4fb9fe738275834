"""MultipartUploader: sends a large file in parts, each one proven, and resumes a cut-off upload.

One upload has three steps:

1. ``_open``: resume the upload that the journal has, or begin one.
2. ``_send_parts``: read each part once, in the order of the file, and send it unless the remote has
   it already. The MD5 of the whole file is taken at the same time.
3. ``_complete``: only if the file has the bytes that its name promises; then prove the object.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from ..._artifact.push_policy import DEFAULT_PART_SIZE
from ..._artifact.push_records import PushObject
from ..._errors import RemoteAccessError
from ..._workers.file_workers import default_workers
from ..._workers.thread_start import run_in_thread
from ..remote_errors import RequestFailedError
from ..store import (
    MissingObjectError,
    OnBytes,
    Sent,
    UnreadableObjectError,
    WrongObjectError,
)
from .file_parts import FileMd5, FilePart, hash_part, read_part
from .multipart_etag import grow_part_size
from .open_uploads import abort_empty, abort_uploads, list_parts, try_to_abort
from .part_proofs import SentPart, compare_part, prove_object, to_base64
from .s3_client import S3Client
from .s3_requests import RefusedError, S3Requests
from .upload_journal import UploadJournal, UploadSlot, new_upload

logger = logging.getLogger(__name__)

# See ``count_in_flight``.
_FEW_IN_FLIGHT, _LOST_SHARE = 4, 12
# An upload that another program aborts is begun again so often, and a damaged part sent so often.
_MOST_UPLOADS, _MOST_SENDINGS = 3, 3


@dataclass
class _Upload:
    """An upload that is open in the remote."""

    obj: PushObject
    key: str
    source: str
    upload_id: str
    part_size: int
    uses_sha256: bool
    """The ETags are no MD5, since a key encrypts the object: the remote stores SHA-256 instead."""
    stored: dict[int, dict[str, Any]]
    """The parts that the remote has, by number, as ``ListParts`` has them."""
    whole: FileMd5 = field(default_factory=FileMd5)
    parts: dict[int, SentPart] = field(default_factory=dict)
    resumed_bytes: int = 0
    done_bytes: int = 0
    """The bytes that were passed to ``on_bytes``."""


class MultipartUploader:
    """Sends large files to one S3 remote.

    A push holds in memory the parts that have a permit, and no others.

    Args:
        requests: makes the requests.
        journal: has the open uploads.
        part_size: the bytes of each part but the last. It grows for a file of more than 10,000.
    """

    def __init__(
        self, requests: S3Requests, journal: UploadJournal, part_size: int = DEFAULT_PART_SIZE
    ) -> None:
        self._requests = requests
        self._connection = requests.connection
        self._bucket = requests.connection.bucket
        self._journal = journal
        self._part_size = part_size
        self._readers = anyio.CapacityLimiter(default_workers())
        # Whether the remote encrypts with a key, so that no ETag is an MD5. Its replies may say so.
        self._uses_sha256 = bool(
            self._connection.customer_key()
            or self._connection.sse_options().get("ServerSideEncryption", "AES256") != "AES256"
        )

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send the file ``source``, or the parts that are missing in the remote, and prove it.

        ``on_bytes`` is called with a negative number if an upload is lost and begins again.

        Raises:
            WrongObjectError: the remote answers that it has other bytes. They are removed.
            UnreadableObjectError: the file does not have the bytes that its name promises.
            MissingObjectError: the file cannot be read.
            RequestFailedError: the remote refuses this object.
            RemoteAccessError: no other request succeeds either.

        Cancellation: the parts in flight are cut off. The upload stays open and in the journal, so
            that the next push resumes it.
        """
        key = self._connection.key(obj)
        address = await self._connection.address()
        with self._journal.claim(address.endpoint_url, self._bucket, key) as slot:
            for _ in range(_MOST_UPLOADS):
                upload = await self._open(obj, key, source, slot)
                try:
                    await self._send_parts(upload, on_bytes)
                    sent = await self._complete(upload, slot)
                except RefusedError as error:
                    if error.code != "NoSuchUpload":
                        await self._abort(upload, slot)
                        raise
                except (WrongObjectError, UnreadableObjectError, MissingObjectError):
                    await self._abort(upload, slot)
                    raise
                else:
                    # Another process that was killed may have sent it too.
                    await abort_uploads(
                        self._requests, self._journal, lambda other: other.key == key
                    )
                    return sent
                # Another program aborted it. Begin again.
                slot.forget()
                on_bytes(-upload.done_bytes)
        raise RequestFailedError("another program aborts each upload of it")

    # ── 1. open ──

    async def _open(self, obj: PushObject, key: str, source: str, slot: UploadSlot) -> _Upload:
        if slot.upload is not None:
            resumed = await self._resume(obj, key, source, slot)
            if resumed is not None:
                return resumed
        return await self._begin(obj, key, source, slot)

    async def _resume(
        self, obj: PushObject, key: str, source: str, slot: UploadSlot
    ) -> _Upload | None:
        """Return the upload of the journal with its parts; None: the remote has it no more."""
        entry = slot.upload
        assert entry is not None
        if entry.upload_id is None:
            # A kill came while the upload began. No part of it was sent.
            await abort_empty(self._requests, self._journal, key)
            return None
        try:
            listed = await list_parts(self._requests, key, entry.upload_id)
        except (RefusedError, RemoteAccessError) as error:
            # Credentials may be allowed to send objects, but not to list parts.
            if isinstance(error, RemoteAccessError) and error.option != "profile":
                raise
            logger.info("The upload of '%s' cannot be resumed: %s", obj.path, error)
            await try_to_abort(self._requests, key, entry.upload_id)
            return None
        return _Upload(
            obj,
            key,
            source,
            entry.upload_id,
            entry.part_size,
            entry.uses_sha256,
            stored={part["PartNumber"]: part for part in listed},
        )

    async def _begin(self, obj: PushObject, key: str, source: str, slot: UploadSlot) -> _Upload:
        part_size = grow_part_size(obj.size, self._part_size)
        connection = self._connection
        address = await connection.address()
        slot.begin(
            new_upload(
                connection.remote.name,
                address.endpoint_url,
                self._bucket,
                key,
                obj.size,
                part_size,
                self._uses_sha256,
            )
        )
        tries = 0

        async def create(client: S3Client) -> Any:
            nonlocal tries
            tries += 1
            return await client.create_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                **connection.sse_options(),
                **({"ChecksumAlgorithm": "SHA256"} if self._uses_sha256 else {}),
            )

        reply = await self._requests.send(create)
        upload_id = reply["UploadId"]
        slot.opened(upload_id)
        if tries > 1:  # the reply to an earlier try may have been lost
            await abort_empty(self._requests, self._journal, key)
        encrypts = reply.get("ServerSideEncryption", "AES256") != "AES256"
        if encrypts and not self._uses_sha256:
            # The bucket encrypts with a key, which the options do not say.
            self._uses_sha256 = True
            await try_to_abort(self._requests, key, upload_id)
            return await self._begin(obj, key, source, slot)
        return _Upload(obj, key, source, upload_id, part_size, self._uses_sha256, stored={})

    # ── 2. the parts ──

    async def _send_parts(self, upload: _Upload, on_bytes: OnBytes) -> None:
        size, part_size = upload.obj.size, upload.part_size
        count = -(-size // part_size)
        buffer_bytes = self._requests.budget.max_requests * self._part_size
        in_flight = anyio.Semaphore(count_in_flight(count, part_size, buffer_bytes))
        errors: list[Exception] = []

        async def send_part(number: int, was_read: anyio.Event) -> None:
            try:
                await self._send_part(upload, number, on_bytes, was_read)
            except Exception as error:
                errors.append(error)
                tasks.cancel_scope.cancel()
            finally:
                in_flight.release()

        async with anyio.create_task_group() as tasks:
            for number in range(1, count + 1):
                await in_flight.acquire()
                was_read = anyio.Event()
                tasks.start_soon(send_part, number, was_read)
                # The MD5 of the whole file takes its parts in order.
                await was_read.wait()
        if errors:
            raise errors[0]
        found = upload.whole.md5.hexdigest()
        if found != upload.obj.md5.removesuffix(".dir"):
            raise UnreadableObjectError(f"its bytes in the cache have the MD5 {found}")

    async def _send_part(
        self, upload: _Upload, number: int, on_bytes: OnBytes, was_read: anyio.Event
    ) -> None:
        """Send one part, unless the remote has it. ``was_read`` is set once it is read."""
        start = (number - 1) * upload.part_size
        size = min(upload.part_size, upload.obj.size - start)
        md5: bytes | None = None

        async def read() -> FilePart:
            nonlocal md5
            data = await run_in_thread(
                partial(read_part, upload.source, start, size, upload.whole), self._readers
            )
            was_read.set()
            part = await run_in_thread(partial(hash_part, data, upload.uses_sha256), self._readers)
            if md5 not in (None, part.md5):
                raise UnreadableObjectError("it changed in the cache while it was sent")
            md5 = part.md5
            return part

        sent = await self._find_stored(upload, number, size, read)
        if sent is None:
            sent = await self._put(upload, number, size, read)
        else:
            upload.resumed_bytes += size
        upload.parts[number] = sent
        upload.done_bytes += size
        on_bytes(size)

    async def _find_stored(
        self, upload: _Upload, number: int, size: int, read: Callable[[], Awaitable[FilePart]]
    ) -> SentPart | None:
        """Return a part that the remote has already; None: it has none, or other bytes."""
        stored = upload.stored.get(number)
        if stored is None or stored.get("Size") != size:
            return None
        async with self._requests.budget.request():  # for the memory of the part
            sent = compare_part(await read(), stored)
        return sent if sent is not None and sent.is_proven else None

    async def _put(
        self, upload: _Upload, number: int, size: int, read: Callable[[], Awaitable[FilePart]]
    ) -> SentPart:
        async def put(client: S3Client) -> SentPart | None:
            part = await read()
            checksum = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": to_base64(part.sha256)}
            reply = await client.upload_part(
                **self._names(upload),
                PartNumber=number,
                Body=part.body,
                ContentMD5=to_base64(part.md5),
                **(checksum if upload.uses_sha256 else {}),
                **self._connection.customer_key(),
            )
            return compare_part(part, reply)

        for _ in range(_MOST_SENDINGS):
            sent = await self._requests.send(put, size)
            if sent is not None:
                return sent
        raise WrongObjectError(f"the remote has other bytes in part {number}")

    # ── 3. complete ──

    async def _complete(self, upload: _Upload, slot: UploadSlot) -> Sent:
        parts = [part for _, part in sorted(upload.parts.items())]
        named = [
            {
                "PartNumber": number,
                "ETag": part.etag,
                **({"ChecksumSHA256": to_base64(part.sha256)} if part.sha256 else {}),
            }
            for number, part in enumerate(parts, start=1)
        ]

        async def complete(client: S3Client) -> Any:
            return await client.complete_multipart_upload(
                **self._names(upload),
                MultipartUpload={"Parts": named},
                **self._connection.customer_key(),
            )

        try:
            reply = await self._requests.send(complete)
        except RefusedError as error:
            # An earlier try may have completed it, and its reply was lost.
            reply = await self._head(upload.key) if error.code == "NoSuchUpload" else None
            # The size alone may be that of a wrong object, which this one replaces.
            if reply is None or prove_object(parts, reply) not in ("etag", "checksum"):
                raise
        slot.forget()
        verified_by = prove_object(parts, reply)
        if verified_by == "size":
            reply = await self._head(upload.key) or {}
            is_whole = reply.get("ContentLength") == upload.obj.size
            verified_by = prove_object(parts, reply) if is_whole else None
        if verified_by is None:
            await self._requests.send(partial(_delete, bucket=self._bucket, key=upload.key))
            raise WrongObjectError("the remote has other bytes in the object that it completed")
        # With it, the next push knows the object again, whatever the ETag is computed from.
        etag = str(reply["ETag"]).strip('"') if verified_by != "size" else ""
        return Sent(verified_by, upload.resumed_bytes, etag)

    async def _head(self, key: str) -> dict[str, Any] | None:
        async def head(client: S3Client) -> Any:
            return await client.head_object(
                Bucket=self._bucket,
                Key=key,
                ChecksumMode="ENABLED",
                **self._connection.customer_key(),
            )

        try:
            reply: dict[str, Any] = await self._requests.send(head)
        except RefusedError:
            return None
        return reply

    # ── open uploads ──

    def _names(self, upload: _Upload) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": upload.key, "UploadId": upload.upload_id}

    async def _abort(self, upload: _Upload, slot: UploadSlot) -> None:
        if await try_to_abort(self._requests, upload.key, upload.upload_id):
            slot.forget()


def count_in_flight(count: int, part_size: int, buffer_bytes: int) -> int:
    """Return how many parts of one file are in flight at most.

    A kill loses them, so they are at most a twelfth of a large file: a push that is killed halfway
    sends little more than the other half again. The parts of a smaller file fill a few connections.

    Args:
        count: the number of parts.
        part_size: the bytes of one, which are more if there would be too many.
        buffer_bytes: the memory for the parts of all files.
    """
    return max(1, min(max(_FEW_IN_FLIGHT, count // _LOST_SHARE), buffer_bytes // part_size))


async def _delete(client: S3Client, bucket: str, key: str) -> None:
    await client.delete_object(Bucket=bucket, Key=key)
