"""S3Connection finds address and credentials where DVC finds them, and leaves the process alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from asynclive import RemoteAccessError
from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.s3.s3_client import S3Address, S3Connection

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def ask(options: dict[str, Any], question: Callable[[S3Connection], Awaitable[T]]) -> T:
    remote = RemoteDescription("store", "s3://bucket/dir", "s3", "bucket/dir/files/md5", options)

    async def main() -> T:
        connection = S3Connection(remote, max_requests=2)
        try:
            return await question(connection)
        finally:
            await connection.aclose()

    return asyncio.run(main())


def write_credentials(path: Path, **profiles: str) -> str:
    path.write_text(
        "".join(
            f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
            for name, key in profiles.items()
        )
    )
    return str(path)


def test_keys_of_the_options_come_first(tmp_path: Path) -> None:
    path = write_credentials(tmp_path / "credentials", default="from-file")
    options = {"access_key_id": "id", "secret_access_key": "key", "credentialpath": path}
    found = ask(options, S3Connection.credentials)
    assert found["access_key_id"] == "id"
    assert found["expires_at"] is None


def test_a_profile_is_read_from_the_credentialpath(tmp_path: Path) -> None:
    path = write_credentials(tmp_path / "credentials", default="one", work="two")
    before = dict(os.environ)
    found = ask({"credentialpath": path, "profile": "work"}, S3Connection.credentials)
    assert (found["access_key_id"], found["secret_access_key"]) == ("two", "secret")
    assert dict(os.environ) == before


def test_a_variable_of_the_environment_wins_over_the_path_of_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_credentials(tmp_path / "credentials", default="option")
    mine = write_credentials(tmp_path / "mine", default="environment")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", mine)
    found = ask({"credentialpath": path}, S3Connection.credentials)
    assert found["access_key_id"] == "environment"


def test_no_credentials_are_an_error_that_names_the_option() -> None:
    with pytest.raises(RemoteAccessError, match="no credentials") as caught:
        ask({}, S3Connection.credentials)
    assert caught.value.option == "access_key_id"


def test_credentials_that_were_changed_on_disk_are_read_again(tmp_path: Path) -> None:
    path = write_credentials(tmp_path / "credentials", default="old")

    async def question(connection: S3Connection) -> tuple[str, bool, str]:
        old = await connection.credentials()
        write_credentials(tmp_path / "credentials", default="new")
        renewed = await connection.renew()
        new = await connection.credentials()
        return old["access_key_id"], renewed, new["access_key_id"]

    assert ask({"credentialpath": path, "region": "eu-west-1"}, question) == ("old", True, "new")


def test_renewed_credentials_keep_few_clients(tmp_path: Path) -> None:
    path = write_credentials(tmp_path / "credentials", default="id")

    async def question(connection: S3Connection) -> tuple[list[int], bool]:
        kept = []
        for _ in range(4):
            used = await connection.client()
            assert await connection.renew()  # for obstore
            assert await connection.client() is used
            assert await connection.renew(used)
            kept.append(len(connection._clients))
        return kept, await connection.client() is used

    assert ask({"credentialpath": path, "region": "eu-west-1"}, question) == ([2] * 4, False)


def test_keys_of_the_options_cannot_be_read_again() -> None:
    assert not ask({"access_key_id": "id", "secret_access_key": "key"}, S3Connection.renew)


@pytest.mark.parametrize(
    ("options", "config", "address"),
    [
        (
            {"endpointurl": "http://localhost:1"},
            "",
            S3Address("http://localhost:1", "us-east-1", True),
        ),
        (
            {"endpointurl": "http://localhost:1"},
            "region = eu-north-1\ns3 =\n  addressing_style = virtual\n",
            S3Address("http://localhost:1", "eu-north-1", False),
        ),
        ({"region": "eu-west-1"}, "region = eu-north-1\n", S3Address(None, "eu-west-1", False)),
        (
            {"region": "eu-west-1", "access_key_id": "a", "secret_access_key": "b"},
            "endpoint_url = http://localhost:2\n",
            S3Address("http://localhost:2", "eu-west-1", True),
        ),
        (
            {"region": "eu-west-1"},
            "ca_bundle = /certificates.pem\n",
            S3Address(None, "eu-west-1", False, "/certificates.pem"),
        ),
    ],
)
def test_the_address_comes_from_the_options_and_the_configpath(
    tmp_path: Path, options: dict[str, Any], config: str, address: S3Address
) -> None:
    if config:
        (tmp_path / "config").write_text(f"[default]\n{config}")
        options = {**options, "configpath": str(tmp_path / "config")}
    assert ask(options, S3Connection.address) == address


def test_the_ways_to_encrypt_go_along() -> None:
    remote = RemoteDescription(
        "store", "s3://b", "s3", "b/files/md5", {"sse": "aws:kms", "sse_kms_key_id": "key"}
    )
    connection = S3Connection(remote, 1)
    assert connection.sse_options() == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    assert connection.customer_key() == {}
    remote = RemoteDescription("store", "s3://b", "s3", "b/files/md5", {"sse_customer_key": "a2V5"})
    assert S3Connection(remote, 1).sse_options() == {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": b"key",
    }
