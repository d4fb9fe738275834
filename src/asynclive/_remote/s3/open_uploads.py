"""Finds and aborts uploads in parts that no push goes on with. Only those of our own journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import RequestFailedError
from ..request_budget import RequestBudget
from .s3_client import S3Client, S3Connection
from .s3_requests import RefusedError, S3Requests
from .upload_journal import OpenUpload, UploadJournal

logger = logging.getLogger(__name__)

_LOST_SECONDS = 30 * 24 * 3600.0


async def abort_uploads(
    requests: S3Requests, journal: UploadJournal, is_unneeded: Callable[[OpenUpload], bool]
) -> list[OpenUpload]:
    """Abort open uploads to one remote, and return those that are gone.

    An upload that another process sends now, and one that cannot be aborted, stays in the journal.

    Args:
        requests: to the remote.
        journal: has the open uploads, of all remotes.
        is_unneeded: returns whether to abort one.
    """
    address = await requests.connection.address()
    place = (address.endpoint_url or "", requests.connection.bucket)
    aborted = []
    for path, upload in journal.entries().items():
        if (upload.endpoint, upload.bucket) != place or not is_unneeded(upload):
            continue
        with journal.claim_abandoned(path) as slot:
            if slot is None or slot.upload is None:
                continue
            upload = slot.upload
            if upload.upload_id is None:
                gone = await abort_empty(requests, journal, upload.key)
            else:
                gone = await try_to_abort(requests, upload.key, upload.upload_id)
            if gone:
                slot.forget()
                aborted.append(upload)
    return aborted


def abort_all(remote: RemoteDescription, state_dir: str) -> list[OpenUpload]:
    """Abort the open uploads to one S3 remote that no process sends now; return them.

    It blocks, and runs an event loop of its own.

    Raises:
        RemoteAccessError: the address of the remote is not found.
    """

    async def abort() -> list[OpenUpload]:
        budget = RequestBudget(1)
        connection = S3Connection(remote, budget.max_requests)
        try:
            requests = S3Requests(connection, budget)
            return await abort_uploads(requests, UploadJournal(state_dir), lambda _: True)
        finally:
            await connection.aclose()

    return asyncio.run(abort())


def forget_lost(journal: UploadJournal, remote: str, now: float) -> None:
    """Remove the uploads to other remotes that no push went to for a month, and warn of them.

    Such a remote is likely configured no more, so there are no credentials to abort them with.

    Args:
        journal: has the open uploads.
        remote: the name of the remote that is pushed to now.
        now: seconds since the epoch.
    """
    for path, upload in journal.entries().items():
        if upload.remote == remote or now - upload.begun < _LOST_SECONDS:
            continue
        with journal.claim_abandoned(path) as slot:
            if slot is not None and slot.upload is not None:
                logger.warning(
                    "An open upload of '%s' in the bucket '%s' may cost money. No push went to its "
                    "remote '%s' for a month. Abort it with a tool of the store; its id is '%s'",
                    upload.key,
                    upload.bucket,
                    upload.remote,
                    upload.upload_id,
                )
                slot.forget()


async def try_to_abort(requests: S3Requests, key: str, upload_id: str) -> bool:
    """Abort one upload; return whether it is gone."""
    try:
        await requests.send(partial(_abort, requests.connection.bucket, key, upload_id))
    except (RemoteAccessError, RequestFailedError) as error:
        if isinstance(error, RefusedError) and error.code == "NoSuchUpload":
            return True
        logger.warning(
            "An open upload of '%s' in the bucket '%s' cannot be aborted, and may cost money: %s",
            key,
            requests.connection.bucket,
            error,
        )
        return False
    return True


async def abort_empty(requests: S3Requests, journal: UploadJournal, key: str) -> bool:
    """Abort the uploads of one key that have no parts and are in no journal.

    A process that is killed between the beginning of an upload and its line in the journal leaves
    such a one. If it belongs to another machine, that one begins again.

    Returns:
        whether none is left.
    """
    known = {upload.upload_id for upload in journal.entries().values()}
    try:
        reply = await requests.send(partial(_list_uploads, requests.connection.bucket, key))
        for found in reply.get("Uploads", ()):
            upload_id = found["UploadId"]
            if found["Key"] != key or upload_id in known:
                continue
            if not await list_parts(requests, key, upload_id):
                await try_to_abort(requests, key, upload_id)
    except (RemoteAccessError, RequestFailedError) as error:
        logger.info("The open uploads of '%s' cannot be listed: %s", key, error)
        return False
    return True


async def list_parts(requests: S3Requests, key: str, upload_id: str) -> list[dict[str, Any]]:
    """Return the parts that an open upload has in the remote.

    Raises:
        RefusedError: there is no such upload.
    """
    parts: list[dict[str, Any]] = []
    while True:
        marker = parts[-1]["PartNumber"] if parts else 0
        reply = await requests.send(
            partial(_list_parts, requests, key=key, upload_id=upload_id, marker=marker)
        )
        found = reply.get("Parts", [])
        parts += found
        if not found or not reply.get("IsTruncated"):
            return parts


async def _abort(bucket: str, key: str, upload_id: str, client: S3Client) -> None:
    await client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


async def _list_uploads(bucket: str, key: str, client: S3Client) -> Any:
    return await client.list_multipart_uploads(Bucket=bucket, Prefix=key)


async def _list_parts(
    requests: S3Requests, client: S3Client, *, key: str, upload_id: str, marker: int
) -> Any:
    return await client.list_parts(
        Bucket=requests.connection.bucket,
        Key=key,
        UploadId=upload_id,
        PartNumberMarker=marker,
        **requests.connection.customer_key(),
    )
