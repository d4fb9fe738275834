"""The contract of ``RemoteStore``: each kind of remote keeps it.

A new kind adds a ``Side`` to ``SIDES``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from backends import on_asyncio
from s3_server import Bucket

from asynclive._artifact.push_policy import PushPolicy, Verify
from asynclive._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.open_store import open_store
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import (
    MissingObjectError,
    RemoteStore,
    UnreadableObjectError,
    WrongObjectError,
)

pytestmark = [pytest.mark.anyio, on_asyncio]


class Side(Protocol):
    """A remote that a test can open, and can reach behind the back of the store."""

    proof: VerifiedBy
    """The proof of objects that the store sends, and of those that it finds."""

    async def open(self, budget: RequestBudget) -> RemoteStore: ...

    def put(self, md5: str, data: bytes) -> None: ...

    def get(self, md5: str) -> bytes | None: ...

    def leftovers(self) -> list[str]:
        """Return all that is in the remote but is no object: temp files, open uploads."""
        ...


class LocalSide:
    """A directory."""

    proof: VerifiedBy = "checksum"

    def __init__(self, base: Path) -> None:
        self._base = base
        self._objects = base / "remote" / "files" / "md5"

    async def open(self, budget: RequestBudget) -> RemoteStore:
        remote = RemoteDescription("r", "remote", "local", str(self._objects))
        return LocalRemote(remote, budget, str(self._base / "hash cache"))

    def put(self, md5: str, data: bytes) -> None:
        path = self._path(md5)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def get(self, md5: str) -> bytes | None:
        path = self._path(md5)
        return path.read_bytes() if path.exists() else None

    def leftovers(self) -> list[str]:
        return [path.name for path in self._objects.glob("*") if len(path.name) != 2] + [
            path.name for path in self._objects.glob("??/*") if len(path.name.split(".")[0]) != 30
        ]

    def _path(self, md5: str) -> Path:
        return self._objects / md5[:2] / md5[2:]


class S3Side:
    """A bucket of S3."""

    proof: VerifiedBy = "etag"

    def __init__(self, base: Path, bucket: Bucket) -> None:
        self._base = base
        self._bucket = bucket

    async def open(self, budget: RequestBudget) -> RemoteStore:
        options = self._bucket.options()
        prefix = f"{self._bucket.name}/dvc/files/md5"
        remote = RemoteDescription("r", options["url"], "s3", prefix, options)
        return await open_store(remote, budget, PushPolicy(), str(self._base / "state"))

    def put(self, md5: str, data: bytes) -> None:
        self._bucket.put(self._key(md5), data)

    def get(self, md5: str) -> bytes | None:
        key = self._key(md5)
        return self._bucket.get(key) if key in self._bucket.keys(key) else None

    def leftovers(self) -> list[str]:
        strange = [key for key in self._bucket.objects() if not key.startswith("dvc/files/md5/")]
        return strange + [upload.key for upload in self._bucket.uploads()]

    def _key(self, md5: str) -> str:
        return f"dvc/files/md5/{md5[:2]}/{md5[2:]}"


def local(base: Path, request: pytest.FixtureRequest) -> Side:
    return LocalSide(base)


def s3(base: Path, request: pytest.FixtureRequest) -> Side:
    return S3Side(base, request.getfixturevalue("bucket"))


SIDES: dict[str, Callable[[Path, pytest.FixtureRequest], Side]] = {"local": local, "s3": s3}


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    return SIDES[request.param](tmp_path, request)


class Objects:
    """Objects of a cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def make(self, data: bytes, suffix: str = "") -> tuple[PushObject, str]:
        """Put an object into the cache; return it and its path."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() + suffix
        path = self._cache / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return PushObject(md5, len(data), f"data/{md5}"), str(path)

    def source_of(self, obj: PushObject) -> str:
        return str(self._cache / obj.md5[:2] / obj.md5[2:])


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "cache")


class Opened:
    """A store of a side, and the bytes that it reported."""

    def __init__(self, store: RemoteStore, objects: Objects) -> None:
        self.store = store
        self._objects = objects
        self.bytes: list[int] = []

    async def send(self, obj: PushObject, source: str) -> VerifiedBy:
        return (await self.store.send(obj, source, self.bytes.append)).verified_by

    async def find(
        self, *objects: PushObject, verify: Verify | None = "store"
    ) -> dict[str, object]:
        return dict(await self.store.find(objects, verify, self._objects.source_of))


@pytest.fixture
async def opened(side: Side, objects: Objects) -> AsyncIterator[Opened]:
    # With one permit, a store that acquires a second one inside the first one would hang.
    store = await side.open(RequestBudget(1))
    try:
        yield Opened(store, objects)
    finally:
        await store.aclose()
        assert side.leftovers() == []


SMALL = b"weights"
CONTENTS = {
    "empty": b"",
    "small": SMALL,
    "medium": bytes(range(256)) * 4096,
    "large": bytes(range(251)) * 80_001,
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_an_object_that_was_sent_is_there_and_proven(
    side: Side, opened: Opened, objects: Objects, name: str
) -> None:
    obj, source = objects.make(CONTENTS[name])
    assert await opened.find(obj) == {}
    assert await opened.send(obj, source) == side.proof
    assert side.get(obj.md5) == CONTENTS[name]
    assert sum(opened.bytes) == obj.size
    assert await opened.find(obj) == {obj.md5: side.proof}
    await opened.store.check_by_reading(obj)


async def test_a_listing_keeps_its_name(side: Side, opened: Opened, objects: Objects) -> None:
    obj, source = objects.make(b"[]", ".dir")
    await opened.send(obj, source)
    assert side.get(obj.md5) == b"[]"
    assert await opened.find(obj) == {obj.md5: side.proof}
    await opened.store.check_by_reading(obj)


WRONG = {"emptied": b"", "cut off": SMALL[:-1], "longer": SMALL + b"!", "other bytes": b"WEIGHTS"}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_object_is_found_out_and_replaced(
    side: Side, opened: Opened, objects: Objects, kind: str
) -> None:
    obj, source = objects.make(SMALL)
    side.put(obj.md5, WRONG[kind])
    has_right_size = len(WRONG[kind]) == obj.size
    if side.proof != "size" or not has_right_size:
        assert await opened.find(obj) == {obj.md5: None}
    for verify in (None, "read"):
        found = await opened.find(obj, verify=verify)
        assert has_right_size or found == {obj.md5: None}
    with pytest.raises(WrongObjectError):
        await opened.store.check_by_reading(obj)
    await opened.send(obj, source)
    assert side.get(obj.md5) == SMALL
    assert await opened.find(obj) == {obj.md5: side.proof}
    await opened.store.check_by_reading(obj)


@pytest.mark.parametrize("verify", ["store", "read", None])
async def test_a_right_object_is_found_whichever_proof_is_asked_for(
    side: Side, opened: Opened, objects: Objects, verify: Verify | None
) -> None:
    obj, _ = objects.make(SMALL)
    side.put(obj.md5, SMALL)
    [proof] = (await opened.find(obj, verify=verify)).values()
    assert proof in ((side.proof,) if verify == "store" else (side.proof, "size"))


async def test_reading_back_an_object_that_is_not_there_fails(
    opened: Opened, objects: Objects
) -> None:
    obj, _ = objects.make(SMALL)
    with pytest.raises(WrongObjectError):
        await opened.store.check_by_reading(obj)


async def test_many_objects_are_found_among_others(
    side: Side, opened: Opened, objects: Objects
) -> None:
    some = [objects.make(b"%d" % number)[0] for number in range(300)]
    for obj in some[::3]:
        side.put(obj.md5, b"%d" % some.index(obj))
    for obj in some[1::3]:
        side.put(obj.md5, b"wrong size")
    expected: dict[str, object] = dict.fromkeys([obj.md5 for obj in some[1::3]])
    expected |= {obj.md5: side.proof for obj in some[::3]}
    assert await opened.find(*some) == expected


async def test_an_object_that_the_cache_lacks_is_an_error_that_says_so(
    side: Side, opened: Opened, objects: Objects
) -> None:
    obj, source = objects.make(SMALL)
    os.unlink(source)
    with pytest.raises(MissingObjectError, match="dvc fetch"):
        await opened.send(obj, source)
    assert side.get(obj.md5) is None


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("times", [1, 1_500_000])
async def test_an_object_that_is_damaged_in_the_cache_is_not_stored(
    side: Side, opened: Opened, objects: Objects, kind: str, times: int
) -> None:
    obj, source = objects.make(SMALL * times)
    Path(source).write_bytes(WRONG[kind] * times)
    with pytest.raises((UnreadableObjectError, WrongObjectError)):
        await opened.send(obj, source)
    assert side.get(obj.md5) is None


async def test_objects_are_sent_at_the_same_time(
    side: Side, opened: Opened, objects: Objects
) -> None:
    some = [objects.make(b"%d" % number * 100) for number in range(50)]
    async with anyio.create_task_group() as tasks:
        for obj, source in some:
            tasks.start_soon(opened.send, obj, source)
    assert await opened.find(*(obj for obj, _ in some)) == {obj.md5: side.proof for obj, _ in some}


async def test_two_stores_send_the_same_objects_at_the_same_time(
    side: Side, opened: Opened, objects: Objects
) -> None:
    other = Opened(await side.open(RequestBudget(2)), objects)
    some = [objects.make(data) for data in CONTENTS.values()]
    async with anyio.create_task_group() as tasks:
        for obj, source in some:
            tasks.start_soon(opened.send, obj, source)
            tasks.start_soon(other.send, obj, source)
    await other.store.aclose()
    assert [side.get(obj.md5) for obj, _ in some] == [*CONTENTS.values()]


@pytest.mark.parametrize("name", ["small", "large"])
async def test_an_object_whose_sending_is_cancelled_is_whole_or_not_there(
    side: Side, opened: Opened, objects: Objects, name: str
) -> None:
    obj, source = objects.make(CONTENTS[name])
    for steps in range(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.send, obj, source)
            for _ in range(steps):
                await asyncio.sleep(0)
            tasks.cancel_scope.cancel()
        assert side.get(obj.md5) in (None, CONTENTS[name])
    await opened.send(obj, source)
    assert side.get(obj.md5) == CONTENTS[name]
