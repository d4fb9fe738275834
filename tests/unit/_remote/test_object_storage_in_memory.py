"""Tests of ObjectStorage on a store in memory. Its ETags are no MD5s, as those of KMS."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest
from backends import on_asyncio
from cloud_store import REMOTE, CountingBudget, FixedAccess
from obstore.store import MemoryStore

from asynclive._artifact.push_policy import Verify
from asynclive._artifact.push_records import PushObject, VerifiedBy
from asynclive._remote.cloud.known_etags import KnownEtags
from asynclive._remote.cloud.object_proofs import ObjectProofs
from asynclive._remote.cloud.object_search import Listed
from asynclive._remote.cloud.object_storage import ObjectStorage
from asynclive._remote.cloud.retried_requests import RetriedRequests
from asynclive._remote.s3.lazy_uploader import LazyUploader, StoredAs
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.store import UnreadableObjectError, WrongObjectError

pytestmark = [pytest.mark.anyio, on_asyncio]


class Uploader(LazyUploader):
    """Says how the remote stores objects, as the test wants it."""

    def __init__(self, stored: StoredAs, state_dir: Path) -> None:
        connection = S3Connection(REMOTE, 1)
        super().__init__(connection, CountingBudget(), str(state_dir), 1000)
        self._stored = stored
        self.asked = 0

    async def ask(self, obj: PushObject) -> StoredAs:
        self.asked += 1
        return self._stored


class InMemory:
    def __init__(self, cache: Path, uploader: LazyUploader | None = None) -> None:
        self.store = MemoryStore()
        self.budget = CountingBudget()
        access = FixedAccess(self.store)
        requests = RetriedRequests(access, self.budget)
        self.storage = ObjectStorage(
            access, requests, KnownEtags(str(cache), "memory"), uploader, part_size=1000
        )
        self._cache = cache
        self.sent = 0

    def make(self, content: bytes, listing: bool = False) -> PushObject:
        md5 = hashlib.md5(content).hexdigest() + (".dir" if listing else "")
        (self._cache / md5).write_bytes(content)
        return PushObject(md5, len(content), f"{md5}.txt")

    def source(self, obj: PushObject) -> str:
        return str(self._cache / obj.md5)

    async def send(self, obj: PushObject) -> str:
        sent = await self.storage.send(obj, self.source(obj), self._count)
        return sent.verified_by

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None = "store"
    ) -> Mapping[str, VerifiedBy | None]:
        return await self.storage.find(objects, verify, self.source)

    def _count(self, sent: int) -> None:
        self.sent += sent

    def keys(self) -> set[str]:
        return {meta["path"] for page in self.store.list() for meta in page}


@pytest.fixture
def memory(tmp_path: Path) -> InMemory:
    return InMemory(tmp_path)


async def test_an_object_lies_where_dvc_looks_for_it(memory: InMemory) -> None:
    objects = [memory.make(b"bytes"), memory.make(b"[]", listing=True)]
    for obj in objects:
        await memory.send(obj)
    assert memory.keys() == {f"{obj.md5[:2]}/{obj.md5[2:]}" for obj in objects}
    assert memory.sent == sum(obj.size for obj in objects)


async def test_an_etag_of_another_kind_is_found_out_once(memory: InMemory) -> None:
    objects = [memory.make(b"first"), memory.make(b"second")]
    # Sent, read back, and asked for its size; then no longer read back.
    assert await memory.send(objects[0]) == "size"
    assert memory.budget.requests == 3
    assert await memory.send(objects[1]) == "size"
    assert memory.budget.requests == 5
    assert await memory.find(objects) == {obj.md5: "size" for obj in objects}


async def test_objects_found_with_such_etags_count_by_their_size(memory: InMemory) -> None:
    right, short = memory.make(b"right bytes"), memory.make(b"other bytes")
    absent = memory.make(b"absent")
    for obj, content in ((right, b"right bytes"), (short, b"")):
        await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", content)
    found = await memory.find([right, short, absent])
    assert found == {right.md5: "size", short.md5: None}


async def test_other_bytes_of_the_same_size_are_found(memory: InMemory) -> None:
    obj = memory.make(b"right bytes")
    await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", b"wrong bytes")
    assert await memory.find([obj]) == {obj.md5: None}


async def test_without_verify_the_size_is_enough(memory: InMemory) -> None:
    obj = memory.make(b"right bytes")
    await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", b"wrong bytes")
    assert await memory.find([obj], None) == {obj.md5: "size"}


@pytest.mark.parametrize("content", [b"", b"x", b"0123456789" * 250], ids=["0", "1", "2500"])
async def test_an_object_is_read_back_in_parts(memory: InMemory, content: bytes) -> None:
    obj = memory.make(content)
    await memory.send(obj)
    await memory.storage.check_by_reading(obj)


@pytest.mark.parametrize("stored", [None, b"", b"short", b"other bytes", b"longer than it was"])
async def test_wrong_bytes_are_found_by_reading(memory: InMemory, stored: bytes | None) -> None:
    obj = memory.make(b"right bytes")
    if stored is not None:
        await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", stored)
    with pytest.raises(WrongObjectError):
        await memory.storage.check_by_reading(obj)


async def test_damaged_bytes_in_the_cache_are_not_left_in_the_remote(memory: InMemory) -> None:
    obj = memory.make(b"right bytes")
    Path(memory.source(obj)).write_bytes(b"wrong bytes")
    with pytest.raises(UnreadableObjectError, match="MD5"):
        await memory.send(obj)
    assert memory.keys() == set()


async def test_a_cut_off_object_in_the_cache_is_not_sent(memory: InMemory) -> None:
    obj = memory.make(b"right bytes")
    Path(memory.source(obj)).write_bytes(b"")
    with pytest.raises(UnreadableObjectError, match="0 bytes"):
        await memory.send(obj)
    assert memory.budget.requests == 0


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


async def test_where_a_key_encrypts_objects_the_checksum_of_the_remote_proves_them(
    tmp_path: Path,
) -> None:
    uploader = Uploader(StoredAs(by_key=True, sha256=sha256(b"second")), tmp_path)
    memory = InMemory(tmp_path, uploader)
    first, second, third = (memory.make(text) for text in (b"first", b"second", b"third"))
    # The first one is sent before it is known that a key encrypts it, and without a checksum.
    assert await memory.send(first) == "size"
    assert await memory.send(second) == "checksum"
    with pytest.raises(WrongObjectError, match="SHA-256"):
        await memory.send(third)
    assert len(memory.keys()) == 2
    found = await memory.find([first, second, third])
    assert found == {first.md5: "size", second.md5: "checksum"}


async def test_s3_says_that_no_key_encrypts_an_object_with_other_bytes(tmp_path: Path) -> None:
    memory = InMemory(tmp_path, Uploader(StoredAs(by_key=False, sha256=None), tmp_path))
    obj = memory.make(b"right bytes")
    await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", b"wrong bytes")
    assert await memory.find([obj]) == {obj.md5: None}


async def test_a_large_object_is_not_read_back_to_learn_the_kind_of_its_etag(
    tmp_path: Path,
) -> None:
    memory = InMemory(tmp_path, Uploader(StoredAs(by_key=False, sha256=None), tmp_path))
    obj = memory.make(b"0123456789" * 250)
    await memory.store.put_async(f"{obj.md5[:2]}/{obj.md5[2:]}", b"9876543210" * 250)
    assert await memory.find([obj]) == {obj.md5: None}
    assert memory.budget.requests == 1


async def test_a_large_object_of_a_remote_without_md5s_counts_by_its_size(
    memory: InMemory,
) -> None:
    obj = memory.make(b"0123456789" * 250)
    assert await memory.send(obj) == "size"
    requests = memory.budget.requests
    assert await memory.find([obj]) == {obj.md5: "size"}
    assert memory.budget.requests == requests + 1  # it is not read back
    await memory.storage.check_by_reading(obj)


async def test_a_large_object_whose_sending_fails_is_not_there(memory: InMemory) -> None:
    obj = memory.make(b"0123456789" * 250)

    def fail(_sent: int) -> None:
        raise KeyError("on_bytes")

    with pytest.raises(KeyError):
        await memory.storage.send(obj, memory.source(obj), fail)
    assert memory.keys() == set()


@pytest.fixture
def endless(tmp_path: Path) -> PushObject:
    """Return an object that takes minutes to hash. It uses no space."""
    obj = PushObject("0" * 32, 2**38, "endless")
    with (tmp_path / obj.md5).open("wb") as file:
        file.truncate(obj.size)
    return obj


async def test_a_cancelled_push_does_not_wait_until_a_large_file_is_hashed(
    tmp_path: Path, endless: PushObject
) -> None:
    uploader = Uploader(StoredAs(by_key=False, sha256=None), tmp_path)
    requests = RetriedRequests(FixedAccess(None), CountingBudget())
    known = KnownEtags(str(tmp_path), "memory")
    proofs = ObjectProofs(requests, known, uploader, part_size=1000, has_md5_etags=True)
    source = str(tmp_path / endless.md5)
    in_parts = {endless.md5: (endless, Listed(endless.size, f"{'0' * 32}-4096"))}
    with anyio.move_on_after(0.01) as proving:
        await proofs.prove_listed(in_parts, "store", lambda _: source)
    with anyio.move_on_after(0.01) as hashing:
        await proofs.hash_source(source)
    assert proving.cancelled_caught
    assert hashing.cancelled_caught
