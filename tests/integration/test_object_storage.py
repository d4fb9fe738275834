"""ObjectStorage on a server of S3: objects that are sent and found, and the requests it takes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from backends import on_asyncio
from object_storages import describe, find, ignore_bytes, key_of, make_object, open_storage
from s3_proxy import Hold, S3Proxy, first, is_upload
from s3_server import Bucket

from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import WrongObjectError
from asynclive._workers.bounded_gather import run_together

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


@pytest.mark.parametrize("name", ["a//b", "a/../b"])
async def test_objects_of_other_programs_may_have_any_names(
    bucket: Bucket, tmp_path: Path, name: str
) -> None:
    objects = [make_object(tmp_path, b"%d" % number) for number in range(60)]
    bucket.put(f"dvc/files/md5/80/{name}", b"another")
    for obj in objects[:2]:
        bucket.put(key_of(obj), (tmp_path / obj.md5).read_bytes())
    async with open_storage(describe(bucket), tmp_path) as store:
        assert await find(store, objects, tmp_path) == {obj.md5: "etag" for obj in objects[:2]}


async def test_looking_for_many_objects_takes_one_request_a_page(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    objects = [make_object(tmp_path, b"%d" % number) for number in range(1200)]
    budget = RequestBudget()
    remote = describe(bucket, endpointurl=proxy.endpoint)
    async with open_storage(remote, tmp_path, budget) as store:
        sends = (partial(store.send, obj, str(tmp_path / obj.md5), ignore_bytes) for obj in objects)
        await run_together(sends, budget.max_requests)
        proxy.forget()
        absent = [make_object(tmp_path, b"absent %d" % number) for number in range(100)]
        found = await find(store, [*objects, *absent], tmp_path)
    assert found == {obj.md5: "etag" for obj in objects}
    # Two pages, and one more if two segments are listed in parallel.
    assert len(proxy.requests) <= 3


async def test_a_cancelled_request_gives_its_permit_back(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    hold = Hold()
    proxy.rule = first(1, hold, is_upload)
    remote = describe(bucket, endpointurl=proxy.endpoint)
    async with open_storage(remote, tmp_path, RequestBudget(max_requests=1)) as store:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.send, obj, str(tmp_path / obj.md5), ignore_bytes)
            await anyio.to_thread.run_sync(hold.wait_until_reached)
            tasks.cancel_scope.cancel()
        hold.drop()
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
    assert bucket.get(key_of(obj)) == b"bytes"
