"""Tests of what the errors of obstore tell of a failed request."""

from __future__ import annotations

from pathlib import Path

import pytest
from backends import on_asyncio
from cloud_store import REMOTE
from obstore.exceptions import GenericError

from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.cloud.obstore_errors import Failure, read_failure
from asynclive._remote.cloud.store_access import StoreAccess
from asynclive._remote.remote_errors import (
    BAD_CERTIFICATE,
    NO_ANSWER,
    NO_CREDENTIALS,
    Refusal,
)
from asynclive._remote.s3.s3_client import S3Connection

DUMP = "\n\nDebug source:\n"


def reply(status: str, body: str) -> GenericError:
    return GenericError(
        "Generic S3 error: Error performing PUT http://h/b/k?sig=SECRET in 1ms - Server returned "
        f"non-2xx status code: {status}: {body}{DUMP}Generic {{ sig=SECRET }}"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            reply(
                "503 Service Unavailable", "<Error><Code>SlowDown</Code><Message>Please</Message>"
            ),
            Failure("SlowDown", 503, "Please"),
        ),
        (reply("502 Bad Gateway", ""), Failure("", 502, "")),
        (
            reply(
                "400 Bad Request",
                "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>",
            ),
            Failure("AuthorizationHeaderMalformed", 400, "", region="eu-west-1"),
        ),
        (
            reply(
                "403 Forbidden",
                "<Code>RequestTimeTooSkewed</Code><Message>Far</Message>"
                "<RequestTime>20261130T120000Z</RequestTime>"
                "<ServerTime>2026-11-30T12:20:00Z</ServerTime>",
            ),
            Failure(
                "RequestTimeTooSkewed",
                403,
                "the clock of this machine is 20 minutes behind its clock",
            ),
        ),
        (TimeoutError(), Failure(NO_ANSWER, None, "it took too long", is_slow=True)),
        (
            GenericError(
                f'error sending request{DUMP}kind: Connect, message: "Connection refused"'
            ),
            Failure(NO_ANSWER, None, "Connection refused"),
        ),
        (
            GenericError(f"error sending request{DUMP}kind: Timeout, TimedOut"),
            Failure(NO_ANSWER, None, "it took too long", is_slow=True),
        ),
        (
            GenericError(f"error sending request{DUMP}InvalidCertificate(\n  UnknownIssuer)"),
            Failure(BAD_CERTIFICATE, None, "UnknownIssuer"),
        ),
        (
            GenericError(f"{DUMP}InvalidCertificate(\n Other(\n OtherError(\n CaUsedAsEndEntity"),
            Failure(BAD_CERTIFICATE, None, "CaUsedAsEndEntity"),
        ),
        (
            GenericError(f"Received redirect without LOCATION, this is odd{DUMP}"),
            Failure("PermanentRedirect", 301, ""),
        ),
        (GenericError(f"Error getting credentials{DUMP}"), Failure(NO_CREDENTIALS, None, "")),
    ],
)
def test_a_failure_has_the_code_and_the_words_of_the_remote(
    error: Exception, expected: Failure
) -> None:
    found = read_failure(error)
    assert found == expected
    assert "SECRET" not in repr(found)


@pytest.mark.anyio
@on_asyncio
async def test_the_region_of_a_reply_is_taken_unless_an_option_names_one() -> None:
    failure = Failure("AuthorizationHeaderMalformed", 400, "", region="eu-west-1")
    access = StoreAccess(REMOTE, S3Connection(REMOTE, 1))
    store = await access.store()
    assert await access.renew(store, failure, Refusal.REMOTE)
    renewed = await access.store()
    assert renewed.config["region"] == "eu-west-1"
    assert not await access.renew(renewed, failure, Refusal.REMOTE)

    named = RemoteDescription(
        REMOTE.name, REMOTE.url, "s3", REMOTE.prefix, {**REMOTE.options, "region": "us-west-2"}
    )
    access = StoreAccess(named, S3Connection(named, 1))
    assert not await access.renew(await access.store(), failure, Refusal.REMOTE)


@pytest.mark.anyio
@on_asyncio
async def test_credentials_that_expire_are_read_again_each_time(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = id\naws_secret_access_key = key\n")
    options = {"credentialpath": str(path), "endpointurl": "http://host", "region": "eu-west-1"}
    remote = RemoteDescription("storage", "s3://bucket", "s3", "bucket/files/md5", options)
    connection = S3Connection(remote, 1)
    access = StoreAccess(remote, connection)
    try:
        for _ in range(3):
            store = await access.store()
            assert await access.renew(store, Failure("ExpiredToken", 400, ""), Refusal.EXPIRED)
            assert await access.store() is not store
    finally:
        await connection.aclose()
