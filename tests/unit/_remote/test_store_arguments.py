"""Tests of DVC's options of a remote as arguments of obstore. obstore itself accepts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore.store
import pytest

from asynclive._artifact.push_records import RemoteDescription
from asynclive._errors import RemoteAccessError
from asynclive._remote.cloud.store_arguments import (
    StoreArguments,
    azure_arguments,
    gs_arguments,
    has_md5_etags,
    s3_arguments,
)
from asynclive._remote.s3.s3_client import S3Address

AWS = S3Address(None, "eu-west-1", path_style=False)
OWN = S3Address("http://host:9000/", "us-east-1", path_style=True)
# Azure accepts keys of base64 only.
SECRET = "c2VjcmV0LW9mLXRlc3Rz"


def describe(scheme: str, bucket: str = "bucket", **options: Any) -> RemoteDescription:
    return RemoteDescription(
        "storage", f"{scheme}://{bucket}/dir", scheme, f"{bucket}/dir/files/md5", options
    )


def open_store(arguments: StoreArguments) -> None:
    getattr(obstore.store, arguments.kind)(
        arguments.bucket,
        prefix=arguments.prefix,
        config=arguments.config,
        client_options=arguments.client,
    )


@pytest.mark.parametrize(
    ("address", "bucket", "options", "expected"),
    [
        (AWS, "bucket", {}, {"virtual_hosted_style_request": True, "region": "eu-west-1"}),
        (AWS, "a.b", {}, {"virtual_hosted_style_request": False}),
        (
            AWS,
            "bucket",
            {"use_ssl": False},
            {"endpoint": "http://bucket.s3.eu-west-1.amazonaws.com"},
        ),
        (
            OWN,
            "bucket",
            {},
            {"endpoint": "http://host:9000", "virtual_hosted_style_request": False},
        ),
        (
            OWN._replace(path_style=False),
            "bucket",
            {},
            {"endpoint": "http://bucket.host:9000", "virtual_hosted_style_request": True},
        ),
        (OWN, "bucket", {"allow_anonymous_login": True}, {"skip_signature": True}),
        (OWN, "bucket", {"sse": "AES256"}, {"server_side_encryption": "AES256"}),
        (
            OWN,
            "bucket",
            {"sse_kms_key_id": "k"},
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "k"},
        ),
        (
            OWN,
            "bucket",
            {"sse_customer_key": SECRET},
            {"server_side_encryption": "sse-c", "sse_customer_key_base64": SECRET},
        ),
    ],
)
def test_options_of_s3(
    address: S3Address, bucket: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    arguments = s3_arguments(describe("s3", bucket, **options), address)
    assert (arguments.bucket, arguments.prefix) == (bucket, "dir/files/md5")
    assert expected.items() <= arguments.config.items()
    open_store(arguments)


def test_two_ways_to_encrypt_are_refused() -> None:
    with pytest.raises(RemoteAccessError, match="exclude each other"):
        s3_arguments(describe("s3", sse_kms_key_id="k", sse_customer_key=SECRET), OWN)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"sse": "AES256"}, True),
        ({"sse": "aws:kms"}, False),
        ({"sse": "aws:kms:dsse"}, False),
        ({"sse_kms_key_id": "k"}, False),
        ({"sse_customer_key": SECRET}, False),
    ],
)
def test_an_encryption_with_a_key_has_other_etags(options: dict[str, Any], expected: bool) -> None:
    assert has_md5_etags(describe("s3", **options)) is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"endpointurl": "http://host:4443/"}, {"base_url": "http://host:4443"}),
        ({"credentialpath": "/key.json"}, {"application_credentials": "/key.json"}),
    ],
)
def test_options_of_google_cloud_storage(options: dict[str, Any], expected: dict[str, Any]) -> None:
    arguments = gs_arguments(describe("gs", projectname="p", **options))
    assert arguments.config == expected
    assert not arguments.needs_credentials
    assert arguments.client.get("allow_http", False) == ("endpointurl" in options)
    if "credentialpath" not in options:
        open_store(arguments)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"account_name": "a", "account_key": SECRET},
            {"account_name": "a", "account_key": SECRET},
        ),
        (
            {"account_name": "a", "sas_token": "?sv=1&sig=2"},
            {"account_name": "a", "sas_key": "sv=1&sig=2"},
        ),
        (
            {"account_name": "a", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
            {"account_name": "a", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
        ),
        (
            {"account_name": "a", "allow_anonymous_login": True},
            {"account_name": "a", "skip_signature": True},
        ),
        (
            {
                "connection_string": f"AccountName=a;AccountKey={SECRET}==;"
                "EndpointSuffix=core.windows.net"
            },
            {
                "account_name": "a",
                "account_key": f"{SECRET}==",
                "endpoint": "https://a.blob.core.windows.net",
            },
        ),
        (
            {
                "connection_string": "BlobEndpoint=http://127.0.0.1:10000/a;AccountName=a;"
                "SharedAccessSignature=sv=1&sig=2"
            },
            {"account_name": "a", "sas_key": "sv=1&sig=2", "endpoint": "http://127.0.0.1:10000/a"},
        ),
        (
            {
                "connection_string": "BlobEndpoint=https://a.blob.core.windows.net/;SharedAccessSignature=s"
            },
            {"account_name": "a", "sas_key": "s", "endpoint": "https://a.blob.core.windows.net"},
        ),
    ],
)
def test_options_of_azure(options: dict[str, Any], expected: dict[str, Any]) -> None:
    arguments = azure_arguments(describe("azure", "container", **options))
    assert (arguments.bucket, arguments.prefix) == ("container", "dir/files/md5")
    assert arguments.config == expected
    assert not arguments.needs_credentials


def test_azure_without_a_secret_takes_the_default_chain() -> None:
    assert azure_arguments(describe("azure", account_name="a")).needs_credentials


def test_azure_without_an_account_is_an_error() -> None:
    with pytest.raises(RemoteAccessError, match="account_name") as caught:
        azure_arguments(describe("azure"))
    assert caught.value.option == "account_name"


def test_azure_reads_the_variables_that_dvc_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "of-environment")
    monkeypatch.setenv("AZURE_STORAGE_KEY", SECRET)
    expected = {"account_name": "of-environment", "account_key": SECRET}
    assert azure_arguments(describe("azure")).config == expected
    named = azure_arguments(describe("azure", account_name="of-options"))
    assert named.config == {**expected, "account_name": "of-options"}


def test_certificates_are_not_checked_or_come_from_a_file(tmp_path: Path) -> None:
    unchecked = s3_arguments(describe("s3", ssl_verify=False), OWN)
    assert unchecked.client["allow_invalid_certificates"] is True
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    of_file = s3_arguments(describe("s3", ssl_verify=str(file)), OWN)
    assert of_file.client["root_certificate"] == file.read_text()
    with pytest.raises(RemoteAccessError, match="ssl_verify"):
        s3_arguments(describe("s3", ssl_verify=str(tmp_path / "none.pem")), OWN)


def test_the_certificates_of_the_configuration_of_aws_count_unless_an_option_says_more(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    https = S3Address("https://host", "us-east-1", True, str(file))
    assert s3_arguments(describe("s3"), https).client["root_certificate"] == file.read_text()
    for address, options in (
        (https, {"ssl_verify": True}),
        (https, {"ssl_verify": False}),
        (https._replace(endpoint_url="http://host"), {}),
    ):
        assert "root_certificate" not in s3_arguments(describe("s3", **options), address).client


def test_secrets_are_not_in_the_representation() -> None:
    options = {"account_name": "a", "account_key": SECRET}
    assert SECRET not in repr(azure_arguments(describe("azure", **options)))
    assert SECRET not in repr(describe("azure", **options))
