"""ObjectStorage at a server of S3 that refuses, fails or is gone: tries, and errors of the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from backends import on_asyncio
from object_storages import describe, find, ignore_bytes, make_object, open_storage
from s3_proxy import (
    DENIED,
    EXPIRED,
    SKEWED,
    SLOW_DOWN,
    UNKNOWN_KEY,
    Cut,
    Hold,
    Reply,
    S3Proxy,
    always,
    every,
    first,
    is_upload,
)
from s3_server import Bucket

from asynclive._artifact.push_records import PushObject
from asynclive._errors import RemoteAccessError
from asynclive._remote.cloud.known_etags import KnownEtags
from asynclive._remote.cloud.object_storage import ObjectStorage
from asynclive._remote.cloud.retried_requests import RetriedRequests
from asynclive._remote.cloud.store_access import StoreAccess
from asynclive._remote.remote_errors import RequestFailedError
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.store import RemoteStore

pytestmark = [pytest.mark.anyio, on_asyncio]


async def find_and_send(store: RemoteStore, objects: list[PushObject], cache: Path) -> None:
    # A HEAD of an object in a bucket that does not exist says only that it is missing.
    assert await find(store, objects, cache) == {}
    await store.send(objects[0], str(cache / objects[0].md5), ignore_bytes)


@pytest.mark.parametrize(
    ("reply", "option", "words"),
    [
        (UNKNOWN_KEY, "access_key_id", "refuses the credentials"),
        (Reply(403, "SignatureDoesNotMatch"), "access_key_id", "refuses the credentials"),
        (DENIED, "profile", "no permission"),
        (EXPIRED, "session_token", "expired"),
        (SKEWED, None, "clock"),
        (Reply(404, "NoSuchBucket"), "url", "does not exist"),
        (Reply(400, "AuthorizationHeaderMalformed"), "region", "another region"),
    ],
    ids=lambda value: value.code if isinstance(value, Reply) else "",
)
@pytest.mark.parametrize("count", [1, 60], ids=["head", "list"])
async def test_a_refusal_of_the_remote_names_the_option_to_change(
    bucket: Bucket,
    proxy: S3Proxy,
    tmp_path: Path,
    reply: Reply,
    option: str | None,
    words: str,
    count: int,
) -> None:
    objects = [make_object(tmp_path, b"%d" % number) for number in range(count)]
    proxy.rule = always(reply)
    async with open_storage(describe(bucket, endpointurl=proxy.endpoint), tmp_path) as store:
        with pytest.raises(RemoteAccessError, match=words) as caught:
            await find_and_send(store, objects, tmp_path)
    assert caught.value.option == option
    assert (option or "clock") in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(proxy.requests) <= 6


async def test_a_server_that_refuses_every_fifth_request_gets_all_objects(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    objects = [make_object(tmp_path, b"%d" % number) for number in range(40)]
    proxy.rule = every(5, SLOW_DOWN)
    budget = RequestBudget()
    remote = describe(bucket, endpointurl=proxy.endpoint)
    async with open_storage(remote, tmp_path, budget) as store:
        for obj in objects:
            await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
        assert set((await find(store, objects, tmp_path)).values()) == {"etag"}
    assert budget.limit < budget.max_requests
    assert len(bucket.keys()) == len(objects)


@pytest.mark.parametrize(
    "action",
    [Cut(), Cut(after_bytes=1), Reply(500, "InternalError"), Reply(400, "RequestTimeout"), SKEWED],
    ids=["answer lost", "cut off", "InternalError", "RequestTimeout", "waited too long"],
)
async def test_a_request_that_failed_on_its_way_is_made_again(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, action: Cut | Reply
) -> None:
    obj = make_object(tmp_path, b"bytes")
    proxy.rule = first(1, action, is_upload)
    async with open_storage(describe(bucket, endpointurl=proxy.endpoint), tmp_path) as store:
        sent = await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
    assert sent.verified_by == "etag"
    assert [request.succeeded for request in proxy.uploads] == [False, True]


async def test_an_object_that_the_remote_refuses_ends_alone(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    proxy.rule = always(Reply(400, "EntityTooLarge"), is_upload)
    async with open_storage(describe(bucket, endpointurl=proxy.endpoint), tmp_path) as store:
        with pytest.raises(RequestFailedError, match="EntityTooLarge"):
            await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)


Impatient = Callable[[float, float], ObjectStorage]


@pytest.fixture
def impatient(bucket: Bucket, proxy: S3Proxy, tmp_path: Path) -> Impatient:
    """Return a function that opens a store with other limits, in seconds."""

    def open_it(outage: float, read: float) -> ObjectStorage:
        remote = describe(bucket, endpointurl=proxy.endpoint)
        access = StoreAccess(remote, S3Connection(remote, 4))
        requests = RetriedRequests(
            access,
            RequestBudget(),
            read_timeout=read,
            outage_seconds=outage,
            first_outage_seconds=outage,
        )
        return ObjectStorage(access, requests, KnownEtags(str(tmp_path), "storage"))

    return open_it


async def test_a_server_that_is_gone_is_an_error_after_a_while(
    impatient: Impatient, proxy: S3Proxy, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    store = impatient(0.05, 60)
    await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
    proxy.refuse()
    with pytest.raises(RemoteAccessError, match=r"does not answer.*refused.*endpointurl"):
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)


async def test_a_server_that_hangs_is_an_error_after_a_while(
    impatient: Impatient, proxy: S3Proxy, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    hold = Hold()
    proxy.rule = always(hold)
    store = impatient(0.05, 0.1)
    with pytest.raises(RemoteAccessError, match=r"does not answer.*too long"):
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
    hold.drop()


async def test_a_server_that_always_asks_for_fewer_requests_is_an_error_after_a_while(
    impatient: Impatient, proxy: S3Proxy, tmp_path: Path
) -> None:
    obj = make_object(tmp_path, b"bytes")
    proxy.rule = always(SLOW_DOWN)
    with pytest.raises(RemoteAccessError, match="fewer requests") as caught:
        await impatient(0.05, 60).send(obj, str(tmp_path / obj.md5), ignore_bytes)
    assert caught.value.option == "jobs"
