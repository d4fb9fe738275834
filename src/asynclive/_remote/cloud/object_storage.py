"""ObjectStorage: a bucket of S3 or Google Cloud Storage, or a container of Azure, as a remote."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import obstore

from ..._artifact.push_policy import DEFAULT_PART_SIZE, Verify
from ..._artifact.push_records import PushObject, VerifiedBy
from ..._workers.bounded_gather import run_together
from ..remote_errors import RequestFailedError
from ..s3.lazy_uploader import LazyUploader
from ..s3.multipart_etag import has_multipart_etag, is_in_parts
from ..store import (
    OnBytes,
    Sent,
    SourceOf,
    UnreadableObjectError,
    WrongObjectError,
    explain_unreadable,
)
from .known_etags import KnownEtags
from .object_search import Listed, ObjectSearch, head, read_meta
from .obstore_errors import REQUEST_ERRORS
from .retried_requests import MissingInRemoteError, RetriedRequests
from .store_access import StoreAccess
from .store_arguments import has_md5_etags
from .whole_file import send_whole

# Hashing is as fast as memory. Two threads are enough for any network.
_HASHERS = 2
# A read of a file, and of a thread that hashes: long enough to be worth the switch.
_CHUNK = 1024 * 1024


class ObjectStorage:
    """Implements ``RemoteStore`` by obstore.

    The name of an object is the MD5 of its bytes, and so is the ETag of a plain object on S3 and
    on Google Cloud Storage. A reply to a PUT, and each line of a listing, is a proof. Where ETags
    are no MD5, as with KMS, the first one is found out by reading the object back once.

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
        # Whether an ETag is the MD5 of the bytes. None: it is taken for one until one is not.
        self._md5_etags: bool | None = None if has_md5_etags(access.remote) else False
        self._asks_etags = asyncio.Lock()  # protects it while an object is read back to find out
        self._hashers = anyio.CapacityLimiter(_HASHERS)

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        """Look for objects in the remote; return how each one that is there is proven, by MD5."""
        keys = {_key(obj): obj for obj in objects}
        listed = await ObjectSearch(self._requests, self._skips).run(list(keys))
        found: dict[str, VerifiedBy | None] = {}
        in_parts: list[tuple[PushObject, Listed]] = []
        doubtful: list[PushObject] = []
        for key, meta in listed.items():
            obj = keys[key]
            if not obj.fits(meta.size):
                found[obj.md5] = None
            elif _has_md5(meta, obj):
                found[obj.md5] = "etag"
            elif obj.size < 0:  # nothing to compare; to prove it, it must be read back
                found[obj.md5] = "size" if verify == "read" else None
            elif verify != "store" or self._is_opaque(obj):
                found[obj.md5] = "size"
            elif self._md5_etags is False:
                found[obj.md5] = self._known_etags.proof_of(obj.md5, meta.etag) or "size"
                found[obj.md5] = "size"
            elif is_in_parts(meta.etag):
                in_parts.append((obj, meta))
            else:
                found[obj.md5] = None
                doubtful.append(obj)
        jobs = [partial(self._prove_parts, obj, meta, source_of, found) for obj, meta in in_parts]
        await run_together(jobs, _HASHERS)
        if doubtful and await self._has_opaque_etags(min(doubtful, key=_size)):
            found |= {obj.md5: "size" for obj in doubtful}
        if self._uploader is not None:
            proven = {md5 for md5, proof in found.items() if proof is not None}
            await self._uploader.abort_abandoned(source_of, proven)
        return found

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send the file ``source`` as an object, replacing one that is there, and prove it."""
        self._check_size(obj, source)
        if obj.size > self._part_size:
            return await self._send_large(obj, source, on_bytes)
        # Where the ETag of the reply tells nothing, the file is compared with its name before.
        sha256 = "" if self._md5_etags is not False else await self._check_source(obj, source)
        try:
            reply = await self._requests.run(partial(_put, obj=obj, source=source), obj.size)
        except OSError as error:
            raise explain_unreadable(error) from error
        on_bytes(obj.size)
        meta = Listed(obj.size, (reply["e_tag"] or "").strip('"'))
        if _has_md5(meta, obj):
            return Sent("etag")
        if not sha256:
            await self._check_source(obj, source, sent=True)
            if not await self._has_opaque_etags(obj):
                await self._remove(obj)
                raise WrongObjectError(f"the remote has other bytes: their MD5 is {meta.etag}")
        elif self._uploader is not None:
            stored = await self._uploader.ask(obj)
            if stored.sha256 == sha256:
                self._known_etags.add(obj.md5, meta.etag, "checksum")
                return Sent("checksum")
            if stored.sha256 is not None:
                await self._remove(obj)
                raise WrongObjectError("the remote has other bytes: their SHA-256 differs")
        return await self._prove_size(obj)

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
            await send_whole(store, _key(obj), source, self._part_size, budget, on_bytes)
        except REQUEST_ERRORS as error:
            failed = self._requests.error_of(error)
        else:
            return await self._prove_size(obj)
        raise failed

    async def _prove_parts(
        self,
        obj: PushObject,
        meta: Listed,
        source_of: SourceOf,
        found: dict[str, VerifiedBy | None],
    ) -> None:
        """Compare the ETag of an object in parts with that of the file, and put it into ``found``.

        One whose parts have an unusual size is not proven. If the file is not in the cache, it
        cannot be sent again either, and the size must do.
        """
        proof = self._known_etags.proof_of(obj.md5, meta.etag)
        if proof is None:
            check = partial(
                has_multipart_etag, source_of(obj), obj.size, meta.etag, self._part_size
            )
            try:
                if await anyio.to_thread.run_sync(check, limiter=self._hashers):
                    proof = "etag"
                    self._known_etags.add(obj.md5, meta.etag, proof)
            except FileNotFoundError:
                proof = "size"
            except OSError:
                pass
        found[obj.md5] = proof

    async def _prove_size(self, obj: PushObject) -> Sent:
        meta = await self._ask(obj)
        if meta.size != obj.size:
            await self._remove(obj)
            raise WrongObjectError(f"the remote has {meta.size} bytes of {obj.size}")
        return Sent("etag" if _has_md5(meta, obj) else "size")

    async def _ask(self, obj: PushObject) -> Listed:
        """Ask for the size and the ETag of an object."""
        try:
            return read_meta(await self._requests.run(partial(head, key=_key(obj))))
        except MissingInRemoteError:
            raise WrongObjectError("it is not in the remote") from None

    async def check_by_reading(self, obj: PushObject) -> None:
        """Read the object back, and compare the MD5 of its bytes with its name."""
        if obj.size < 0:
            obj = obj._replace(size=(await self._ask(obj)).size)
        digest = hashlib.md5(usedforsecurity=False)
        for start in range(0, max(obj.size, 1), self._part_size):
            length = min(self._part_size, obj.size - start)
            read = partial(_read_range, obj=obj, start=start, length=length)
            try:
                size, data = await self._requests.run(read, replied_bytes=length)
            except MissingInRemoteError:
                raise WrongObjectError("it is not in the remote") from None
            if size != obj.size:
                raise WrongObjectError(f"the remote has {size} bytes of {obj.size}")
            await anyio.to_thread.run_sync(digest.update, data, limiter=self._hashers)
        if digest.hexdigest() != _md5(obj):
            raise WrongObjectError(f"the remote has other bytes: their MD5 is {digest.hexdigest()}")

    async def aclose(self) -> None:
        """Close connections. Nothing is in flight."""
        await self._access.aclose()
        if self._uploader is not None:
            await self._uploader.aclose()

    async def _has_opaque_etags(self, obj: PushObject) -> bool:
        """Tell whether the ETag of an object, which is not its MD5, says nothing about its bytes.

        S3 tells whether a key encrypts it. Otherwise it is read back, unless it is large: if its
        bytes are right, the remote computes ETags in another way.
        """
        async with self._asks_etags:
            if self._md5_etags is None and (
                await self._is_encrypted_by_key(obj) or await self._has_right_bytes(obj)
            ):
                self._md5_etags = False
        return self._md5_etags is False

    async def _is_encrypted_by_key(self, obj: PushObject) -> bool:
        if self._uploader is None:
            return False
        try:
            return (await self._uploader.ask(obj)).by_key
        except RequestFailedError:
            return False

    async def _has_right_bytes(self, obj: PushObject) -> bool:
        if obj.size > self._part_size:
            return False
        try:
            await self.check_by_reading(obj)
        except WrongObjectError:
            return False
        return True

    def _is_opaque(self, obj: PushObject) -> bool:
        """Tell whether an object is one that only S3 proves: obstore sends it in parts."""
        return self._uploader is None and obj.size > self._part_size

    def _check_size(self, obj: PushObject, source: str) -> None:
        try:
            size = os.stat(source).st_size
        except OSError as error:
            raise explain_unreadable(error) from error
        if size != obj.size:
            raise UnreadableObjectError(f"it has {size} bytes in the cache, not {obj.size}")

    async def _check_source(self, obj: PushObject, source: str, sent: bool = False) -> str:
        """Return the SHA-256 of the file, in base64.

        Raises:
            UnreadableObjectError: it does not have the bytes that its name promises.
        """
        try:
            found, sha256 = await anyio.to_thread.run_sync(
                _hash_file, source, limiter=self._hashers
            )
        except OSError as error:
            raise explain_unreadable(error) from error
        if found != _md5(obj):
            if sent:
                await self._remove(obj)
            raise UnreadableObjectError(f"its bytes in the cache have the MD5 {found}")
        return sha256

    async def _remove(self, obj: PushObject) -> None:
        """Remove an object whose bytes are wrong."""
        await self._requests.run(partial(_delete, key=_key(obj)))


def _md5(obj: PushObject) -> str:
    return obj.md5.removesuffix(".dir")


def _key(obj: PushObject) -> str:
    return f"{obj.md5[:2]}/{obj.md5[2:]}"


def _size(obj: PushObject) -> int:
    return obj.size


def _has_md5(meta: Listed, obj: PushObject) -> bool:
    return meta.etag.lower() == _md5(obj)


def _hash_file(path: str) -> tuple[str, str]:
    """Return the MD5 and, in base64, the SHA-256 of a file."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
    return md5.hexdigest(), base64.b64encode(sha256.digest()).decode()


async def _put(store: Any, obj: PushObject, source: str) -> Any:
    # In parts, obstore would leave an open upload behind if it is cancelled.
    return await obstore.put_async(store, _key(obj), Path(source), use_multipart=False)


async def _delete(store: Any, key: str) -> None:
    await obstore.delete_async(store, key)


async def _read_range(store: Any, obj: PushObject, start: int, length: int) -> tuple[int, Any]:
    """Return the size of an object, and some of its bytes."""
    options: Any = {"range": (start, start + length)} if length < obj.size else None
    reply = await obstore.get_async(store, _key(obj), options=options)
    return reply.meta["size"], await reply.bytes_async()
