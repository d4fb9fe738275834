"""ObjectStorage on a server of S3: objects that are sent and found, and the requests it takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backends import on_asyncio
from object_storages import describe, find, ignore_bytes, key_of, make_object, open_storage
from s3_server import Bucket

from asynclive._remote.store import WrongObjectError

pytestmark = [pytest.mark.anyio, on_asyncio]


async def test_objects_are_sent_where_dvc_looks_and_proven_by_their_etag(
    bucket: Bucket, tmp_path: Path
) -> None:
    objects = [make_object(tmp_path, os.urandom(size)) for size in (0, 1, 1000)]
    objects.append(make_object(tmp_path, b"[]", listing=True))
    async with open_storage(describe(bucket), tmp_path) as store:
        assert await find(store, objects, tmp_path) == {}
        for obj in objects:
            sent = await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
            assert sent.verified_by == "etag"
        assert bucket.keys() == {key_of(obj) for obj in objects}
        assert await find(store, objects, tmp_path) == {obj.md5: "etag" for obj in objects}
        for obj in objects:
            await store.check_by_reading(obj)


@pytest.mark.parametrize("content", [b"", b"cut off", b"other bytes"])
async def test_an_object_with_other_bytes_is_found_and_replaced(
    bucket: Bucket, tmp_path: Path, content: bytes
) -> None:
    obj = make_object(tmp_path, b"right bytes")
    bucket.put(key_of(obj), content)
    async with open_storage(describe(bucket), tmp_path) as store:
        assert await find(store, [obj], tmp_path) == {obj.md5: None}
        with pytest.raises(WrongObjectError):
            await store.check_by_reading(obj)
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
        assert bucket.get(key_of(obj)) == b"right bytes"


async def test_the_path_of_a_remote_may_have_any_characters(bucket: Bucket, tmp_path: Path) -> None:
    obj = make_object(tmp_path, b"bytes")
    async with open_storage(
        describe(bucket, url=f"s3://{bucket.name}/a b/ä~#%+/c"), tmp_path
    ) as store:
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
        assert await find(store, [obj], tmp_path) == {obj.md5: "etag"}
        assert bucket.keys() == {f"a b/ä~#%+/c/files/md5/{obj.md5[:2]}/{obj.md5[2:]}"}
