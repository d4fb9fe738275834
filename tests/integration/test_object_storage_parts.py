"""Objects in parts on a server of S3: their proof, and how little a push with nothing new reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backends import on_asyncio
from object_storages import describe, find, ignore_bytes, key_of, make_object, open_storage
from s3_server import Bucket

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import PushObject
from asynclive._remote.store import MissingObjectError

pytestmark = [pytest.mark.anyio, on_asyncio]

MIB = 2**20
POLICY = PushPolicy(part_size=5 * MIB)


def put_in_parts(bucket: Bucket, obj: PushObject, content: bytes, part_size: int) -> None:
    """Send an object in parts, as another program does."""
    names = {"Bucket": bucket.name, "Key": key_of(obj)}
    upload = bucket.client.create_multipart_upload(**names)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": bucket.client.upload_part(
                **names, UploadId=upload, PartNumber=number, Body=content[start:][:part_size]
            )["ETag"],
        }
        for number, start in enumerate(range(0, len(content), part_size), start=1)
    ]
    bucket.client.complete_multipart_upload(
        **names, UploadId=upload, MultipartUpload={"Parts": parts}
    )


@pytest.fixture
def content() -> bytes:
    return os.urandom(11 * MIB)


async def test_a_large_file_is_found_again_without_reading_it(
    bucket: Bucket, tmp_path: Path, content: bytes
) -> None:
    obj = make_object(tmp_path, content)
    source = tmp_path / obj.md5
    async with open_storage(describe(bucket), tmp_path, policy=POLICY) as store:
        sent = await store.send(obj, str(source), ignore_bytes)
        assert sent.verified_by == "etag"
        assert bucket.objects()[key_of(obj)].etag.endswith("-3")
        # An object of this ETag was proven, so the file is not needed.
        source.unlink()
        assert await find(store, [obj], tmp_path) == {obj.md5: "etag"}
    async with open_storage(describe(bucket), tmp_path, policy=POLICY) as store:
        assert await find(store, [obj], tmp_path) == {obj.md5: "etag"}


@pytest.mark.parametrize("part_size", [5 * MIB, 8 * MIB, 10 * MIB])
async def test_the_object_of_another_program_is_proven_by_its_parts(
    bucket: Bucket, tmp_path: Path, content: bytes, part_size: int
) -> None:
    obj = make_object(tmp_path, content)
    put_in_parts(bucket, obj, content, part_size)
    async with open_storage(describe(bucket), tmp_path, policy=POLICY) as store:
        assert await find(store, [obj], tmp_path) == {obj.md5: "etag"}


async def test_an_object_in_parts_with_other_bytes_is_not_proven(
    bucket: Bucket, tmp_path: Path, content: bytes
) -> None:
    obj = make_object(tmp_path, content)
    put_in_parts(bucket, obj, bytes([content[0] ^ 1]) + content[1:], 5 * MIB)
    async with open_storage(describe(bucket), tmp_path, policy=POLICY) as store:
        assert await find(store, [obj], tmp_path) == {obj.md5: None}


async def test_an_object_of_one_part_is_proven_once_and_not_by_its_size(
    bucket: Bucket, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    put_in_parts(bucket, obj, b"bytes", 5 * MIB)
    async with open_storage(describe(bucket), tmp_path, policy=POLICY) as store:
        assert await find(store, [obj], tmp_path) == {obj.md5: "etag"}


async def test_a_file_that_is_not_in_the_cache_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    obj = make_object(tmp_path, b"bytes")
    (tmp_path / obj.md5).unlink()
    async with open_storage(describe(bucket), tmp_path) as store:
        with pytest.raises(MissingObjectError, match="not in the cache"):
            await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
