"""DVC's options of an S3 remote, by the requests that a server of S3 gets from ObjectStorage."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from object_storages import describe, find, ignore_bytes, make_object, open_storage
from s3_proxy import EXPIRED, Reply, Request, S3Proxy, always, first
from s3_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Bucket

from asynclive._artifact.push_records import RemoteDescription
from asynclive._errors import RemoteAccessError

pytestmark = [pytest.mark.anyio, on_asyncio]

NO_KEYS: dict[str, None] = {"access_key_id": None, "secret_access_key": None}


async def send_one(remote: RemoteDescription, cache: Path) -> str:
    """Send an object, check that it is found, and return its proof."""
    obj = make_object(cache, b"bytes")
    async with open_storage(remote, cache) as store:
        sent = await store.send(obj, str(cache / obj.md5), ignore_bytes)
        assert await find(store, [obj], cache) == {obj.md5: sent.verified_by}
    return sent.verified_by


def key_of_signature(request: Request) -> str | None:
    """Return the id of the access key that has signed a request."""
    _, found, rest = request.headers.get("authorization", "").partition("Credential=")
    return rest.partition("/")[0] if found else None


def write_credentials(path: Path, profile: str, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_ACCESS_KEY}\n"
    )


async def test_keys_of_the_options_sign_the_requests(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    remote = describe(bucket, endpointurl=proxy.endpoint, session_token="token")
    assert await send_one(remote, tmp_path) == "etag"
    assert {key_of_signature(each) for each in proxy.requests} == {ACCESS_KEY_ID}
    assert {each.headers["x-amz-security-token"] for each in proxy.requests} == {"token"}


@pytest.mark.parametrize("place", ["environment", "credentialpath", "profile", "configpath"])
async def test_keys_are_found_where_dvc_finds_them(
    bucket: Bucket,
    proxy: S3Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    options: dict[str, Any] = {}
    file = tmp_path / "aws" / "credentials"
    if place == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", place)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    elif place == "credentialpath":
        write_credentials(file, "default", place)
        options["credentialpath"] = str(file)
    elif place == "profile":
        write_credentials(file, "of-tests", place)
        options |= {"credentialpath": str(file), "profile": "of-tests"}
    else:
        write_credentials(file, "default", place)
        options["configpath"] = str(file)
    remote = describe(bucket, endpointurl=proxy.endpoint, **NO_KEYS, **options)
    assert await send_one(remote, tmp_path) == "etag"
    assert {key_of_signature(each) for each in proxy.requests} == {place}


async def test_the_region_of_the_bucket_is_asked_for_if_that_of_the_environment_is_wrong(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    proxy.rule = always(
        Reply(400, "AuthorizationHeaderMalformed"),
        lambda request: "/eu-west-1/s3/" in request.headers["authorization"],
    )
    await send_one(describe(bucket, endpointurl=proxy.endpoint, region=None), tmp_path)
    regions = [each.headers["authorization"].split("/")[2] for each in proxy.requests]
    assert regions[0] == "eu-west-1"
    assert set(regions[1:]) == {"us-east-1"}


async def test_an_option_counts_more_than_a_variable_that_dvc_does_not_read(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_REGION": "eu-west-1",
        "AWS_SESSION_TOKEN": "of-environment",
        "AWS_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    remote = describe(bucket, endpointurl=proxy.endpoint)
    assert await send_one(remote, tmp_path) == "etag"
    assert {key_of_signature(each) for each in proxy.requests} == {ACCESS_KEY_ID}
    assert not [each for each in proxy.requests if "x-amz-security-token" in each.headers]


async def test_expired_keys_are_read_again_once(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    write_credentials(file, "default", "old")
    remote = describe(bucket, endpointurl=proxy.endpoint, **NO_KEYS, credentialpath=str(file))
    async with open_storage(remote, tmp_path) as store:
        write_credentials(file, "default", "new")
        proxy.rule = first(1, EXPIRED)
        obj = make_object(tmp_path, b"bytes")
        await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
    assert [key_of_signature(each) for each in proxy.requests] == ["old", "new"]


async def test_no_credentials_are_an_error_at_once(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise botocore asks an address that only a machine of AWS has.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    remote = describe(bucket, endpointurl=proxy.endpoint, **NO_KEYS)
    with pytest.raises(RemoteAccessError, match="no credentials") as caught:
        await send_one(remote, tmp_path)
    assert caught.value.option == "access_key_id"
    assert proxy.requests == []


async def test_a_profile_that_does_not_exist_is_named(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    remote = describe(bucket, endpointurl=proxy.endpoint, **NO_KEYS, profile="not-there")
    with pytest.raises(RemoteAccessError, match="not-there"):
        await send_one(remote, tmp_path)


async def test_an_anonymous_login_signs_nothing(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read-write")
    remote = describe(bucket, endpointurl=proxy.endpoint, **NO_KEYS, allow_anonymous_login=True)
    await send_one(remote, tmp_path)
    assert {key_of_signature(each) for each in proxy.requests} == {None}


async def test_a_bucket_without_a_region_needs_none_at_a_server_of_ones_own(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path
) -> None:
    await send_one(describe(bucket, endpointurl=proxy.endpoint, region=None), tmp_path)
    assert all("/us-east-1/s3/" in each.headers["authorization"] for each in proxy.requests)


CUSTOMER_KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"sse": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"sse": "aws:kms", "sse_kms_key_id": "the-key"},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "the-key",
            },
        ),
        (
            {"sse_customer_key": CUSTOMER_KEY},
            {
                "x-amz-server-side-encryption-customer-algorithm": "AES256",
                "x-amz-server-side-encryption-customer-key": CUSTOMER_KEY,
            },
        ),
    ],
    ids=["SSE-S3", "SSE-KMS", "SSE-C"],
)
async def test_objects_are_encrypted_as_the_options_say(
    bucket: Bucket,
    proxy: S3Proxy,
    tmp_path: Path,
    options: dict[str, str],
    headers: dict[str, str],
) -> None:
    obj = make_object(tmp_path, b"bytes")
    remote = describe(bucket, endpointurl=proxy.endpoint, **options)
    async with open_storage(remote, tmp_path) as store:
        sent = await store.send(obj, str(tmp_path / obj.md5), ignore_bytes)
        found = await find(store, [obj], tmp_path)
    (upload,) = proxy.uploads
    assert headers.items() <= upload.headers.items()
    # The ETags of this server are MD5s in any case.
    assert (sent.verified_by, found[obj.md5]) == ("etag", "etag")
