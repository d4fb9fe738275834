"""ObjectStorage: a bucket of S3 or Google Cloud Storage, or a container of Azure, as a remote."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import obstore

from ..._artifact.push_policy import DEFAULT_PART_SIZE, Verify
from ..._artifact.push_records import PushObject, VerifiedBy
from ..s3.lazy_uploader import LazyUploader
from ..store import (
    OnBytes,
    Sent,
    SourceOf,
    UnreadableObjectError,
    WrongObjectError,
    explain_unreadable,
)
from .known_etags import KnownEtags
from .object_proofs import ObjectProofs, has_md5, key_of, md5_of
from .object_search import Listed, ObjectSearch
from .obstore_errors import REQUEST_ERRORS
from .retried_requests import RetriedRequests
from .store_access import StoreAccess
from .store_arguments import has_md5_etags
from .whole_file import send_whole


class ObjectStorage:
    """Implements ``RemoteStore`` by obstore.

    An object of up to ``part_size`` is sent by one request, and the ETag of the reply proves it.
    Where it does not, ``ObjectProofs`` finds another proof.

    Args:
        access: opens the store of obstore.
        requests: makes the requests.
        known_etags: the ETags of objects in parts.
        uploader: for S3, sends files of more than ``part_size``. None: obstore does.
        part_size: maximum number of bytes of one request.
        skips: see ``ObjectSearch``.
    """

    backend = "obstore"

    def __init__(
        self,
        access: StoreAccess,
        requests: RetriedRequests,
        known_etags: KnownEtags,
        uploader: LazyUploader | None = None,
        part_size: int = DEFAULT_PART_SIZE,
        skips: bool = True,
    ) -> None:
        self._access = access
        self._requests = requests
        self._known_etags = known_etags
        self._uploader = uploader
        self._part_size = part_size
        self._skips = skips
        self._proofs = ObjectProofs(
            requests, known_etags, uploader, part_size, has_md5_etags(access.remote)
        )

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        """Look for objects in the remote; return how each one that is there is proven, by MD5."""
        by_key = {key_of(obj): obj for obj in objects}
        listed = await ObjectSearch(self._requests, self._skips).run(list(by_key))
        there = {by_key[key].md5: (by_key[key], meta) for key, meta in listed.items()}
        found = await self._proofs.prove_listed(there, verify, source_of)
        if self._uploader is not None:
            proven = {md5 for md5, proof in found.items() if proof is not None}
            await self._uploader.abort_abandoned(source_of, proven)
        return found

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send the file ``source`` as an object, replacing one that is there, and prove it."""
        obj = _with_size(obj, source)
        if obj.size > self._part_size:
            return await self._send_large(obj, source, on_bytes)
        # Where the ETag of the reply tells nothing, the file is compared with its name before.
        sha256 = "" if self._proofs.has_md5_etags else await self._check_source(obj, source)
        try:
            reply = await self._requests.run(partial(_put, obj=obj, source=source), obj.size)
        except OSError as error:
            raise explain_unreadable(error) from error
        on_bytes(obj.size)
        meta = Listed(obj.size, (reply["e_tag"] or "").strip('"'))
        if has_md5(meta, obj):
            return Sent("etag")
        try:
            if sha256:
                return Sent(await self._proofs.prove_by_checksum(obj, meta.etag, sha256))
            await self._check_source(obj, source)
            if await self._proofs.has_opaque_etag(obj):
                return Sent(await self._proofs.prove_size(obj))
            raise WrongObjectError(f"the remote has other bytes: their MD5 is {meta.etag}")
        except (WrongObjectError, UnreadableObjectError):
            await self._remove(obj)
            raise

    async def check_by_reading(self, obj: PushObject) -> None:
        """Read the object back, and compare the MD5 of its bytes with its name."""
        await self._proofs.read_back(obj)

    async def aclose(self) -> None:
        """Close connections. Nothing is in flight."""
        await self._access.aclose()
        if self._uploader is not None:
            await self._uploader.aclose()

    async def _send_large(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        if self._uploader is not None:
            sent = await self._uploader.send(obj, source, on_bytes)
            if sent.etag:
                self._known_etags.add(obj.md5, sent.etag, sent.verified_by)
            return sent
        await self._check_source(obj, source)
        budget = self._requests.budget
        store = await self._access.store()
        try:
            await send_whole(store, key_of(obj), source, self._part_size, budget, on_bytes)
        except REQUEST_ERRORS as error:
            failed = self._requests.error_of(error)
        else:
            try:
                return Sent(await self._proofs.prove_size(obj))
            except WrongObjectError:
                await self._remove(obj)
                raise
        raise failed

    async def _check_source(self, obj: PushObject, source: str) -> str:
        """Return the SHA-256 of the file, in base64.

        Raises:
            UnreadableObjectError: it does not have the bytes that its name promises.
        """
        try:
            md5, sha256 = await self._proofs.hash_source(source)
        except OSError as error:
            raise explain_unreadable(error) from error
        if md5 != md5_of(obj):
            raise UnreadableObjectError(f"its bytes in the cache have the MD5 {md5}")
        return sha256

    async def _remove(self, obj: PushObject) -> None:
        """Remove an object whose bytes are wrong. A cancellation waits for that."""
        with anyio.CancelScope(shield=True):
            await self._requests.run(partial(_delete, key=key_of(obj)))


def _with_size(obj: PushObject, source: str) -> PushObject:
    """Return an object with the size of its file, which must fit."""
    try:
        size = os.stat(source).st_size
    except OSError as error:
        raise explain_unreadable(error) from error
    if not obj.fits(size):
        raise UnreadableObjectError(f"it has {size} bytes in the cache, not {obj.size}")
    return obj._replace(size=size)


async def _put(store: Any, obj: PushObject, source: str) -> Any:
    # In parts, obstore would leave an open upload behind if it is cancelled.
    return await obstore.put_async(store, key_of(obj), Path(source), use_multipart=False)


async def _delete(store: Any, key: str) -> None:
    await obstore.delete_async(store, key)
