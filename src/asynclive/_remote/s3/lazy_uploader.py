"""LazyUploader: does for one remote, when it is needed, what obstore cannot.

It imports botocore, which a push of small files to a plain bucket does without.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._artifact.push_records import PushObject
from ..request_budget import RequestBudget
from ..store import OnBytes, Sent, SourceOf
from .s3_client import S3Client, S3Connection
from .upload_journal import OpenUpload, UploadJournal

if TYPE_CHECKING:
    from .multipart_upload import MultipartUploader
    from .s3_requests import S3Requests

logger = logging.getLogger(__name__)


class StoredAs(NamedTuple):
    """How a remote stores an object, as far as its replies to obstore do not tell."""

    by_key: bool
    """Whether a key encrypts it. Then its ETag is not the MD5 of its bytes."""
    sha256: str | None
    """Its SHA-256 in base64, if the remote has it."""


class LazyUploader:
    """Sends large files to one remote, and asks how it stores objects.

    Args:
        connection: gives the client.
        budget: gives the permits.
        state_dir: the directory of the journal.
        part_size: the bytes of a part.
    """

    def __init__(
        self, connection: S3Connection, budget: RequestBudget, state_dir: str, part_size: int
    ) -> None:
        self._connection = connection
        self._budget = budget
        self._journal = UploadJournal(state_dir)
        self._part_size = part_size
        self._uploader: MultipartUploader | None = None

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send a file in parts, and prove it. See ``MultipartUploader.send``."""
        if self._uploader is None:
            from .multipart_upload import MultipartUploader

            self._uploader = MultipartUploader(self._requests(), self._journal, self._part_size)
        return await self._uploader.send(obj, source, on_bytes)

    async def ask(self, obj: PushObject) -> StoredAs:
        """Ask how the remote stores an object.

        Raises:
            RequestFailedError: it has no such object, or refuses to tell.
        """
        connection = self._connection
        names = {"Bucket": connection.bucket, "Key": connection.key(obj)}
        parameters = {**names, "ChecksumMode": "ENABLED", **connection.customer_key()}
        reply = await self._requests().send(partial(_head, parameters=parameters))
        by_key = str(reply.get("ServerSideEncryption") or "").startswith("aws:kms")
        return StoredAs(by_key or "SSECustomerAlgorithm" in reply, reply.get("ChecksumSHA256"))

    async def abort_abandoned(self, source_of: SourceOf, proven: Collection[str]) -> None:
        """Abort the uploads of earlier pushes that no push goes on with, as far as it succeeds.

        Args:
            source_of: the path of an object in the cache.
            proven: the MD5s of objects that are in the remote.
        """
        entries = self._journal.entries()
        if not entries:
            return
        from .open_uploads import abort_uploads, forget_lost

        now = time.time()

        def is_needless(upload: OpenUpload) -> bool:
            source = source_of(PushObject(upload.md5, upload.size, ""))
            return upload.md5 in proven or upload.is_old(now) or not os.path.exists(source)

        if any(map(is_needless, entries.values())):
            for upload in await abort_uploads(self._requests(), self._journal, is_needless):
                logger.info("Aborted an upload of '%s' that no push goes on with", upload.key)
        forget_lost(self._journal, self._connection.remote.name, now)

    async def aclose(self) -> None:
        """Close the connections of the client."""
        await self._connection.aclose()

    def _requests(self) -> S3Requests:
        from .s3_requests import S3Requests

        return S3Requests(self._connection, self._budget)


async def _head(client: S3Client, parameters: dict[str, Any]) -> Any:
    return await client.head_object(**parameters)
