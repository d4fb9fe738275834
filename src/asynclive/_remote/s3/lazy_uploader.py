"""LazyUploader: makes the MultipartUploader of one remote when it is needed.

It imports botocore, which a push without large files does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._artifact.push_records import PushObject
from ..request_budget import RequestBudget
from ..store import OnBytes, Sent
from .s3_client import S3Connection

if TYPE_CHECKING:
    from .multipart_upload import MultipartUploader


class LazyUploader:
    """Sends large files to one remote.

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
        self._state_dir = state_dir
        self._part_size = part_size
        self._uploader: MultipartUploader | None = None

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send a file in parts, and prove it. See ``MultipartUploader.send``."""
        if self._uploader is None:
            from .multipart_upload import MultipartUploader
            from .s3_requests import S3Requests
            from .upload_journal import UploadJournal

            requests = S3Requests(self._connection, self._budget)
            journal = UploadJournal(self._state_dir)
            self._uploader = MultipartUploader(requests, journal, self._part_size)
        return await self._uploader.send(obj, source, on_bytes)

    async def aclose(self) -> None:
        """Close the connections of the client."""
        await self._connection.aclose()
