"""Google Cloud Storage: the same way, at a server that speaks as much of its protocol as it needs.

Its XML protocol is that of S3: objects, listings, and uploads in parts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import on_asyncio
from object_storages import find, ignore_bytes, key_of, make_object, open_storage
from s3_proxy import S3Proxy
from s3_server import Bucket, S3Server

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import RemoteDescription

pytestmark = [pytest.mark.anyio, on_asyncio]

MIB = 2**20
_numbers = itertools.count()


@pytest.fixture
def plain_bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """Make a bucket that anyone may use. obstore writes a hyphen in a way moto does not read."""
    name = f"bucket{next(_numbers)}"
    s3_server.client.create_bucket(Bucket=name, ACL="public-read-write")
    yield Bucket(s3_server, name)
    s3_server.forget(name)


def describe(bucket: Bucket, endpoint: str) -> RemoteDescription:
    return RemoteDescription(
        "storage",
        f"gs://{bucket.name}/dvc",
        "gs",
        f"{bucket.name}/dvc/files/md5",
        {"endpointurl": endpoint, "allow_anonymous_login": True},
    )


async def test_objects_are_sent_and_proven(
    plain_bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    objects = [make_object(tmp_path, b"%d" % number) for number in range(60)]
    async with open_storage(describe(plain_bucket, proxy.endpoint), tmp_path) as store:
        for obj in objects:
            sent = await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
            assert sent.verified_by == "etag"
        assert plain_bucket.keys() == {key_of(obj) for obj in objects}
        proxy.forget()
        assert await find(store, objects, tmp_path) == {obj.md5: "etag" for obj in objects}
        assert len(proxy.requests) == 1
        await store.check_by_reading(objects[0])


async def test_a_large_file_is_sent_in_parts_and_an_upload_that_fails_is_aborted(
    plain_bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    content = os.urandom(11 * MIB)
    obj = make_object(tmp_path, content)
    remote = describe(plain_bucket, proxy.endpoint)
    sizes: list[int] = []
    async with open_storage(remote, tmp_path, policy=PushPolicy(part_size=5 * MIB)) as store:
        sent = await store.send(obj, str(tmp_path / obj.md5), sizes.append)
        assert sent.verified_by == "size"
        assert plain_bucket.get(key_of(obj)) == content
        assert sizes == [5 * MIB, 5 * MIB, MIB]

        other = make_object(tmp_path, content[:-1])
        # The last part is of another size, so that this raises an error.
        with pytest.raises(KeyError):
            await store.send(other, str(tmp_path / other.md5), {5 * MIB: None}.__getitem__)
        assert plain_bucket.keys() == {key_of(obj)}
        assert plain_bucket.uploads() == []
