"""Sends a large file to Google Cloud Storage or Azure, from its first byte to its last.

obstore sends it in parts, and tries each part again. It tells no id of such an upload, so a push
that is cut off begins the file anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import obstore

from ..request_budget import RequestBudget
from ..store import OnBytes, explain_unreadable


async def send_whole(
    store: Any,
    key: str,
    source: str,
    part_size: int,
    budget: RequestBudget,
    on_bytes: OnBytes,
) -> None:
    """Send a file. Nothing of it is left in the remote if it fails or is cancelled.

    Args:
        store: the store of obstore.
        key: the key of the object.
        source: the file.
        part_size: the bytes of a part. Two parts are in memory: one is filled, one is sent.
        budget: gives a permit for each part.
        on_bytes: gets the bytes that were sent.

    Raises:
        MissingObjectError: the file cannot be read.
    """
    writer = obstore.open_writer_async(store, key, buffer_size=part_size, max_concurrency=1)
    limiter = anyio.CapacityLimiter(1)
    parts = _read_parts(source, part_size)
    try:
        while True:
            try:
                part = await anyio.to_thread.run_sync(next, parts, None, limiter=limiter)
            except OSError as error:
                raise explain_unreadable(error) from error
            if part is None:
                break
            async with budget.request(len(part)):
                await writer.write(part)
            on_bytes(len(part))
        async with budget.request():
            await writer.close()
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            # It aborts the upload. Otherwise the parts would lie in the remote unseen.
            await writer.__aexit__(type(error), error, error.__traceback__)
        raise


def _read_parts(source: str, part_size: int) -> Iterator[bytes]:
    with open(source, "rb") as file:
        while part := file.read(part_size):
            yield part
