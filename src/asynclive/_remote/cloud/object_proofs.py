"""ObjectProofs: proves that an object in a remote has the right bytes, without reading it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import obstore

from ..._artifact.push_policy import Verify
from ..._artifact.push_records import PushObject, VerifiedBy
from ..._workers.bounded_gather import run_together
from ..._workers.fairness import checkpoint_in_thread
from ..._workers.thread_start import run_in_thread
from ..remote_errors import RequestFailedError
from ..s3.lazy_uploader import LazyUploader
from ..s3.multipart_etag import has_multipart_etag, is_in_parts
from ..store import SourceOf, WrongObjectError
from .known_etags import KnownEtags
from .object_search import Listed, head, read_meta
from .retried_requests import MissingInRemoteError, RetriedRequests

# Hashing is as fast as memory. Two threads are enough for any network.
_HASHERS = 2
# A read of a file: long enough to be worth the switch to a thread.
_CHUNK = 1024 * 1024


class ObjectProofs:
    """Proves the objects of one remote.

    The name of an object is the MD5 of its bytes, and so is the ETag of a plain object on S3 and
    on Google Cloud Storage. Where ETags are no MD5s, the first one is found out: S3 says that a key
    encrypts the object, and elsewhere it is read back.

    Args:
        requests: makes the requests.
        known_etags: the ETags that were proven, and are not in the name of the object.
        uploader: for S3, asks how an object is stored.
        part_size: maximum number of bytes of one request.
        has_md5_etags: whether an ETag can be the MD5 of the bytes.
    """

    def __init__(
        self,
        requests: RetriedRequests,
        known_etags: KnownEtags,
        uploader: LazyUploader | None,
        part_size: int,
        has_md5_etags: bool,
    ) -> None:
        self._requests = requests
        self._known_etags = known_etags
        self._uploader = uploader
        self._part_size = part_size
        # An ETag is taken for the MD5 of the bytes until one is not.
        self._has_md5_etags = has_md5_etags
        self._asks_etags = asyncio.Lock()  # protects it while an object is looked at to find out
        self._hashers = anyio.CapacityLimiter(_HASHERS)

    @property
    def has_md5_etags(self) -> bool:
        """Whether the ETag of a plain object is the MD5 of its bytes, as far as is known."""
        return self._has_md5_etags

    async def prove_listed(
        self,
        listed: Mapping[str, tuple[PushObject, Listed]],
        verify: Verify | None,
        source_of: SourceOf,
    ) -> dict[str, VerifiedBy | None]:
        """Return how each object that is in the remote is proven, by MD5; None: it is not.

        Args:
            listed: the objects that are there, and what the remote tells of them, by MD5.
            verify: see ``RemoteStore.find``.
            source_of: the path of an object in the cache.
        """
        found: dict[str, VerifiedBy | None] = {}
        in_parts: list[tuple[PushObject, Listed]] = []
        doubtful: list[PushObject] = []
        for md5, (obj, meta) in listed.items():
            if not obj.fits(meta.size):
                found[md5] = None
            elif has_md5(meta, obj):
                found[md5] = "etag"
            elif obj.size < 0:  # nothing to compare; to prove it, it must be read back
                found[md5] = "size" if verify == "read" else None
            elif verify != "store" or self._is_sent_by_obstore_in_parts(obj):
                found[md5] = "size"
            elif not self._has_md5_etags:
                found[md5] = self._known_etags.proof_of(md5, meta.etag) or "size"
            elif is_in_parts(meta.etag):
                in_parts.append((obj, meta))
            else:
                found[md5] = None
                doubtful.append(obj)
        jobs = [partial(self._prove_parts, obj, meta, source_of, found) for obj, meta in in_parts]
        await run_together(jobs, _HASHERS)
        if doubtful and await self.has_opaque_etag(min(doubtful, key=_size)):
            found |= {obj.md5: "size" for obj in doubtful}
        return found

    async def prove_size(self, obj: PushObject) -> VerifiedBy:
        """Ask for an object that was sent, and return how it is proven.

        Raises:
            WrongObjectError: it has another size, or is not there.
        """
        meta = await self._ask(obj)
        if meta.size != obj.size:
            raise WrongObjectError(f"the remote has {meta.size} bytes of {obj.size}")
        return "etag" if has_md5(meta, obj) else "size"

    async def prove_by_checksum(self, obj: PushObject, etag: str, sha256: str) -> VerifiedBy:
        """Return how an object that was sent is proven, where its ETag tells nothing.

        Args:
            obj: the object.
            etag: its ETag.
            sha256: the SHA-256 of the file, in base64.

        Raises:
            WrongObjectError: it has other bytes, or is not there.
        """
        stored = None if self._uploader is None else (await self._uploader.ask(obj)).sha256
        if stored is None:
            return await self.prove_size(obj)
        if stored != sha256:
            raise WrongObjectError("the remote has other bytes: their SHA-256 differs")
        self._known_etags.add(obj.md5, etag, "checksum")
        return "checksum"

    async def read_back(self, obj: PushObject) -> None:
        """Read an object, and compare the MD5 of its bytes with its name.

        Raises:
            WrongObjectError: they differ, or it is not there.
        """
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
            await run_in_thread(partial(digest.update, data), self._hashers)
        if digest.hexdigest() != md5_of(obj):
            raise WrongObjectError(f"the remote has other bytes: their MD5 is {digest.hexdigest()}")

    async def hash_source(self, source: str) -> tuple[str, str]:
        """Return the MD5 and, in base64, the SHA-256 of a file."""
        return await run_in_thread(partial(_hash_file, source), self._hashers)

    async def has_opaque_etag(self, obj: PushObject) -> bool:
        """Tell whether the ETag of an object, which is not its MD5, says nothing about its bytes.

        S3 tells whether a key encrypts it. Otherwise it is read back, unless it is large: if its
        bytes are right, the remote computes ETags in another way.
        """
        async with self._asks_etags:
            if self._has_md5_etags and (
                await self._is_encrypted_by_key(obj) or await self._has_right_bytes(obj)
            ):
                self._has_md5_etags = False
        return not self._has_md5_etags

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
            compare = partial(
                has_multipart_etag,
                source_of(obj),
                obj.size,
                meta.etag,
                self._part_size,
                checkpoint_in_thread,
            )
            try:
                if await run_in_thread(compare, self._hashers):
                    proof = "etag"
                    self._known_etags.add(obj.md5, meta.etag, proof)
            except FileNotFoundError:
                proof = "size"
            except OSError:
                pass
        found[obj.md5] = proof

    async def _ask(self, obj: PushObject) -> Listed:
        """Ask for the size and the ETag of an object."""
        try:
            return read_meta(await self._requests.run(partial(head, key=key_of(obj))))
        except MissingInRemoteError:
            raise WrongObjectError("it is not in the remote") from None

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
            await self.read_back(obj)
        except WrongObjectError:
            return False
        return True

    def _is_sent_by_obstore_in_parts(self, obj: PushObject) -> bool:
        """Tell whether an object has an ETag that only its store can compute."""
        return self._uploader is None and obj.size > self._part_size


def md5_of(obj: PushObject) -> str:
    """Return the MD5 of the bytes of an object."""
    return obj.md5.removesuffix(".dir")


def key_of(obj: PushObject) -> str:
    """Return the key of an object, in the prefix of the remote."""
    return f"{obj.md5[:2]}/{obj.md5[2:]}"


def has_md5(meta: Listed, obj: PushObject) -> bool:
    """Tell whether the ETag of an object is the MD5 of its bytes."""
    return meta.etag.lower() == md5_of(obj)


def _size(obj: PushObject) -> int:
    return obj.size


def _hash_file(path: str) -> tuple[str, str]:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            checkpoint_in_thread()
            md5.update(chunk)
            sha256.update(chunk)
    return md5.hexdigest(), base64.b64encode(sha256.digest()).decode()


async def _read_range(store: Any, obj: PushObject, start: int, length: int) -> tuple[int, Any]:
    """Return the size of an object, and some of its bytes."""
    options: Any = {"range": (start, start + length)} if length < obj.size else None
    reply = await obstore.get_async(store, key_of(obj), options=options)
    return reply.meta["size"], await reply.bytes_async()
