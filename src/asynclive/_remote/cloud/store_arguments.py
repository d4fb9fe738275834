"""Turns DVC's options of a remote into the arguments of obstore's stores. Plain data, no I/O."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..s3.s3_client import S3Address

# obstore limits the whole request to 30 s if it is told nothing. RetriedRequests limits requests,
# by their size.
_NO_TIMEOUT = "87600h"
_CONNECT_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class StoreArguments:
    """The arguments of a store of obstore."""

    kind: str
    """The name of the class in ``obstore.store``."""
    bucket: str
    prefix: str
    config: dict[str, Any] = field(repr=False)
    client: dict[str, Any] = field(repr=False)
    needs_credentials: bool
    """Whether the credentials must be looked for. Otherwise they are in ``config``, or obstore
    finds them itself, or requests are not signed."""


def s3_arguments(remote: RemoteDescription, address: S3Address) -> StoreArguments:
    """Return the arguments for a bucket of S3.

    Args:
        remote: its scheme is ``s3``.
        address: where the bucket is.

    Raises:
        RemoteAccessError: an option has a value that obstore cannot use.
    """
    options = remote.options
    bucket, prefix = _bucket_and_prefix(remote)
    # Some stores do not know the request of S3 that removes many objects.
    config: dict[str, Any] = {
        "region": address.region,
        "disable_bulk_delete": True,
        "skip_signature": bool(options.get("allow_anonymous_login")),
    }
    endpoint = address.endpoint_url
    if endpoint is None and not options.get("use_ssl", True):
        endpoint = f"http://s3.{address.region}.amazonaws.com"
    # A certificate of AWS does not fit a bucket whose name has dots.
    path_style = address.path_style or "." in bucket
    config["virtual_hosted_style_request"] = not path_style
    if endpoint is not None:
        scheme, _, host = endpoint.rstrip("/").partition("://")
        endpoint = f"{scheme}://{host}" if path_style else f"{scheme}://{bucket}.{host}"
        config["endpoint"] = endpoint
        # Of this one alone, obstore takes a variable of the environment before an argument.
        config["aws_endpoint_url_s3"] = endpoint
    config |= _encryption(remote)
    if not has_md5_etags(remote):
        # The store compares and keeps it, and no ETag tells as much.
        config["checksum_algorithm"] = "SHA256"
    return StoreArguments(
        kind="S3Store",
        bucket=bucket,
        prefix=prefix,
        config=config,
        client=_client_options(remote, endpoint, "connect_timeout", address.ca_bundle),
        needs_credentials=not options.get("allow_anonymous_login"),
    )


def has_md5_etags(remote: RemoteDescription) -> bool:
    """Tell whether the options let the ETag of an object be the MD5 of its bytes."""
    options = remote.options
    return not (
        options.get("sse_customer_key")
        or options.get("sse_kms_key_id")
        or str(options.get("sse") or "").startswith("aws:kms")
    )


def _encryption(remote: RemoteDescription) -> dict[str, Any]:
    """Return how objects are encrypted."""
    options = remote.options
    sse, kms_key = options.get("sse"), options.get("sse_kms_key_id")
    customer_key = options.get("sse_customer_key")
    if customer_key:
        if kms_key:
            raise RemoteAccessError(
                remote.name,
                "its options sse_kms_key_id and sse_customer_key exclude each other. "
                f"Run 'dvc remote modify --unset {remote.name} sse_kms_key_id'.",
                option="sse_kms_key_id",
            )
        return {"server_side_encryption": "sse-c", "sse_customer_key_base64": customer_key}
    config: dict[str, Any] = {}
    if sse or kms_key:
        config["server_side_encryption"] = sse or "aws:kms"
    if kms_key:
        config["sse_kms_key_id"] = kms_key
    return config


def gs_arguments(remote: RemoteDescription) -> StoreArguments:
    """Return the arguments for a bucket of Google Cloud Storage."""
    options = remote.options
    bucket, prefix = _bucket_and_prefix(remote)
    config: dict[str, Any] = {}
    endpoint = options.get("endpointurl") or os.environ.get("STORAGE_EMULATOR_HOST")
    if endpoint:
        config["base_url"] = endpoint.rstrip("/")
    if options.get("allow_anonymous_login"):
        # obstore asks for a token even where a request is not signed. Such an account needs none.
        config["service_account_key"] = json.dumps(
            {
                "gcs_base_url": config.pop("base_url", "https://storage.googleapis.com"),
                "disable_oauth": True,
                "client_email": "",
                "private_key": "",
                "private_key_id": "",
            }
        )
    elif options.get("credentialpath"):
        config["application_credentials"] = os.fspath(options["credentialpath"])
    return StoreArguments(
        kind="GCSStore",
        bucket=bucket,
        prefix=prefix,
        config=config,
        client=_client_options(remote, endpoint, "connect_timeout"),
        needs_credentials=False,
    )


def azure_arguments(remote: RemoteDescription) -> StoreArguments:
    """Return the arguments for a container of Azure.

    Raises:
        RemoteAccessError: the options name no account.
    """
    options = {**_azure_environment(), **{k: v for k, v in remote.options.items() if v}}
    bucket, prefix = _bucket_and_prefix(remote)
    config = _parse_connection_string(options.get("connection_string") or "")
    if not config:
        config = {"account_name": options.get("account_name")}
        principal = ("tenant_id", "client_id", "client_secret")
        if all(options.get(name) for name in principal):
            config |= {name: options[name] for name in principal}
        elif options.get("account_key"):
            config["account_key"] = options["account_key"]
        elif options.get("sas_token"):
            config["sas_key"] = options["sas_token"].lstrip("?")
        elif options.get("allow_anonymous_login"):
            config["skip_signature"] = True
    if not config.get("account_name"):
        raise RemoteAccessError(
            remote.name,
            "its options name no storage account. "
            f"Run 'dvc remote modify {remote.name} account_name NAME'.",
            option="account_name",
        )
    return StoreArguments(
        kind="AzureStore",
        bucket=bucket,
        prefix=prefix,
        config=config,
        client=_client_options(remote, config.get("endpoint"), "connection_timeout"),
        needs_credentials=not config.keys() - {"account_name", "endpoint"},
    )


# DVC reads these by the configuration of Azure's command line.
_AZURE_VARIABLES = {
    "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "account_name": "AZURE_STORAGE_ACCOUNT",
    "account_key": "AZURE_STORAGE_KEY",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
}


def _azure_environment() -> dict[str, str]:
    found = {name: os.environ.get(variable) for name, variable in _AZURE_VARIABLES.items()}
    return {name: value for name, value in found.items() if value}


def _parse_connection_string(text: str) -> dict[str, Any]:
    """Return the account, its key or SAS token, and the endpoint of a connection string."""
    fields = {
        name.strip().lower(): value
        for name, equals, value in (field.partition("=") for field in text.split(";"))
        if equals
    }
    if not fields:
        return {}
    config: dict[str, Any] = {"account_name": fields.get("accountname")}
    endpoint = fields.get("blobendpoint")
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
        host = endpoint.partition("//")[2].partition(".")[0].partition(":")[0]
        config["account_name"] = config["account_name"] or host
    elif fields.get("endpointsuffix") and config["account_name"]:
        protocol = fields.get("defaultendpointsprotocol", "https")
        config["endpoint"] = (
            f"{protocol}://{config['account_name']}.blob.{fields['endpointsuffix']}"
        )
    if fields.get("accountkey"):
        config["account_key"] = fields["accountkey"]
    elif fields.get("sharedaccesssignature"):
        config["sas_key"] = fields["sharedaccesssignature"].lstrip("?")
    return config


def _bucket_and_prefix(remote: RemoteDescription) -> tuple[str, str]:
    bucket, _, prefix = remote.prefix.partition("/")
    return bucket, prefix


def _client_options(
    remote: RemoteDescription,
    endpoint: str | None,
    connect_timeout: str,
    ca_bundle: str | None = None,
) -> dict[str, Any]:
    options: Mapping[str, Any] = remote.options
    client: dict[str, Any] = {
        "timeout": _NO_TIMEOUT,
        "connect_timeout": f"{options.get(connect_timeout) or _CONNECT_TIMEOUT}s",
    }
    if endpoint and endpoint.startswith("http://"):
        client["allow_http"] = True
        ca_bundle = None
    trusted = options.get("ssl_verify")
    if trusted is None:
        trusted = ca_bundle
    if trusted is False:
        client["allow_invalid_certificates"] = True
    elif isinstance(trusted, str):
        client["root_certificate"] = _read_certificate(remote, trusted)
    return client


def _read_certificate(remote: RemoteDescription, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise RemoteAccessError(
            remote.name,
            f"the certificates in '{path}' cannot be read: {error}. "
            f"Run 'dvc remote modify {remote.name} ssl_verify FILE'.",
            option="ssl_verify",
        ) from error
