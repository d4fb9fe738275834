"""S3Connection: the address, the credentials and the client of one S3 remote, as DVC finds them.

DVC puts the paths of its options into the environment of the process (dvc_s3/__init__.py). Here
they go to the session of botocore alone, and a variable of the environment wins, as with DVC.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import socket
import time
import weakref
from collections.abc import Container
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from ..._artifact.push_records import PushObject, RemoteDescription
from ..remote_errors import BAD_OPTION, NO_CREDENTIALS, access_error

S3Client = Any
"""A client of aiobotocore, which publishes no types."""

# The region in which AWS itself, and most other stores, accept a request that names none.
_FALLBACK_REGION = "us-east-1"
# Seconds that a store may use credentials before it asks for them again. botocore renews those that
# expire in the next 10 minutes, so they are valid for as long.
_CREDENTIALS_LAST = 600
# The client that is used, and the one before, which may have requests. Each takes megabytes.
_CLIENTS_KEPT = 2
# In these turns, an event loop notices that a socket is shut down, and closes it.
_TURNS_TO_CLOSE = 4
# These variables say nothing about the address of a bucket.
_SAY_NOT_WHERE = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_EC2_METADATA_DISABLED",
}
# Seconds. The last MB of a part wait in the kernel after the client has sent them, so the reply
# comes late on a slow line.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 5.0, 60.0
# S3 refuses a request that is signed 900 seconds from its own time. A correction of less than these
# seconds does not turn a refusal into success.
_CLOCKS_DIFFER = 60


class S3Address(NamedTuple):
    """Where a bucket is."""

    endpoint_url: str | None
    """None: AWS."""
    region: str
    path_style: bool
    """The bucket is part of the path, and not of the host's name."""
    ca_bundle: str | None = None
    """The file of the certificates to trust, by a variable or the configuration of AWS."""


class S3Connection:
    """The session of one S3 remote, and its client. Used on one event loop.

    Args:
        remote: an S3 remote.
        max_requests: the connections that the client keeps.
    """

    def __init__(self, remote: RemoteDescription, max_requests: int) -> None:
        self.remote = remote
        self.bucket = remote.prefix.partition("/")[0]
        self.clock_offset = 0.0
        """Seconds from the clock of this machine to that of the remote, once it refused it."""
        self._options = remote.options
        self._max_requests = max_requests
        self._session: Any = None
        self._clients: list[S3Client] = []  # the last one is used; the others may have requests
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._opening = asyncio.Lock()  # protects _address and _clients from a second maker
        self._address: S3Address | None = None

    @property
    def read_timeout(self) -> float:
        """The seconds to wait for a reply after the request is sent."""
        return float(self._options.get("read_timeout") or _READ_TIMEOUT)

    @property
    def is_anonymous(self) -> bool:
        """Whether requests are not signed."""
        return bool(self._options.get("allow_anonymous_login"))

    def key(self, obj: PushObject) -> str:
        """Return the key of an object in the bucket."""
        prefix = self.remote.prefix.partition("/")[2]
        return f"{prefix}/{obj.md5[:2]}/{obj.md5[2:]}".lstrip("/")

    async def address(self) -> S3Address:
        """Return where the bucket is. It may ask AWS for the region, once."""
        async with self._opening:
            if self._address is None:
                self._address = await self._find_address()
            return self._address

    async def credentials(self) -> dict[str, Any]:
        """Return credentials as obstore takes them: it is a ``credential_provider``.

        Raises:
            RemoteAccessError: there are none.
        """
        options = self._options
        if options.get("access_key_id") and options.get("secret_access_key"):
            return {
                "access_key_id": options["access_key_id"],
                "secret_access_key": options["secret_access_key"],
                "token": options.get("session_token"),
                "expires_at": None,
            }
        found = await self._botocore().get_credentials()
        if found is None:
            raise access_error(self.remote, NO_CREDENTIALS)
        frozen = await found.get_frozen_credentials()
        expires_at = datetime.datetime.now(datetime.timezone.utc)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires_at + datetime.timedelta(seconds=_CREDENTIALS_LAST),
        }

    async def client(self) -> S3Client:
        """Return the client. It makes each request once; the caller repeats it."""
        if self._clients:
            return self._clients[-1]
        address = await self.address()
        async with self._opening:
            if not self._clients:
                self._clients.append(await self._new_client(address.region))
            return self._clients[-1]

    async def renew(self, used: S3Client | None = None) -> bool:
        """Read the credentials again, where they come from; return whether that may help.

        Args:
            used: the client that was refused. If it has been replaced already, nothing is read.
                None: a store of obstore was refused.
        """
        if self._options.get("access_key_id") or self.is_anonymous:
            return False
        address = await self.address()
        async with self._opening:
            if used is None:  # another client finds out itself that it is refused
                self._session = None
            elif used in self._clients[-1:]:
                self._session = None
                self._clients.append(await self._new_client(address.region))
                while len(self._clients) > _CLIENTS_KEPT:
                    await self._clients.pop(0).__aexit__(None, None, None)
        return True

    def correct_clock(self, date: str) -> bool:
        """Sign with the time of the remote from now on; return whether that changes anything.

        Args:
            date: the header ``Date`` of a reply.
        """
        try:
            offset = parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            return False
        changed = abs(offset - self.clock_offset) > _CLOCKS_DIFFER
        if changed:
            self.clock_offset = offset
        return changed

    def _get_clock_offset(self) -> float:
        return self.clock_offset

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            await self._clients.pop().__aexit__(None, None, None)
        # A request that was cancelled while it sent a body leaves bytes that the event loop would
        # still send, for as long as the server takes them.
        for sock in self._sockets:
            with suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)

    def sse_options(self) -> dict[str, Any]:
        """Return the parameters of a new object: how the store encrypts it."""
        options = self._options
        found = {
            "ServerSideEncryption": options.get("sse"),
            "SSEKMSKeyId": options.get("sse_kms_key_id"),
            **self.customer_key(),
        }
        return {name: value for name, value in found.items() if value}

    def customer_key(self) -> dict[str, Any]:
        """Return the parameters of each request about an object with a key of the customer."""
        key = self._options.get("sse_customer_key")
        if not key:
            return {}
        algorithm = self._options.get("sse_customer_algorithm") or "AES256"
        return {"SSECustomerAlgorithm": algorithm, "SSECustomerKey": base64.b64decode(key)}

    def _botocore(self) -> Any:
        """Return the session of botocore, which knows profiles, files and the environment."""
        if self._session is None:
            from aiobotocore.session import AioSession

            self._session = AioSession(profile=self._options.get("profile"))
            for option, variable, name in (
                ("credentialpath", "AWS_SHARED_CREDENTIALS_FILE", "credentials_file"),
                ("configpath", "AWS_CONFIG_FILE", "config_file"),
            ):
                path = self._options.get(option)
                if path and variable not in os.environ:
                    self._session.set_config_variable(name, path)
        return self._session

    def _has_no_configuration(self) -> bool:
        """Return whether nothing but the options says where: then botocore is not imported."""
        config_file = os.environ.get("AWS_CONFIG_FILE") or self._options.get("configpath")
        return not (
            self._options.get("profile")
            or self._options.get("credentialpath")
            or any(name.startswith("AWS_") for name in os.environ.keys() - _SAY_NOT_WHERE)
            or os.path.exists(config_file or os.path.expanduser("~/.aws/config"))
            or os.path.exists(os.path.expanduser("~/.aws/credentials"))
        )

    async def _find_address(self) -> S3Address:
        endpoint_url = self._options.get("endpointurl")
        region = self._options.get("region")
        if endpoint_url and self._has_no_configuration():
            return S3Address(endpoint_url, region or _FALLBACK_REGION, path_style=True)
        session = self._botocore()
        region = region or session.get_config_variable("region")
        if not endpoint_url and _configures_an_endpoint(session):
            # Only a client knows which of the files and variables counts.
            client = await self._new_client(region or _FALLBACK_REGION)
            self._clients.append(client)
            endpoint_url = client.meta.endpoint_url
        if not region:
            region = _FALLBACK_REGION if endpoint_url else await self.ask_for_region()
        style = (session.get_config_variable("s3") or {}).get("addressing_style")
        path_style = style != "virtual" if endpoint_url else style == "path"
        ca_bundle = session.get_config_variable("ca_bundle")
        return S3Address(endpoint_url, region, path_style, ca_bundle)

    async def ask_for_region(self) -> str:
        """Return the region of a bucket of AWS. Even a refusal names it."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = await self._new_client(_FALLBACK_REGION)
        try:
            reply = await client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            reply = error.response
        except BotoCoreError:  # the first request that matters says it
            return _FALLBACK_REGION
        finally:
            await client.__aexit__(None, None, None)
        headers = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region") or _FALLBACK_REGION)

    async def _new_client(self, region: str) -> S3Client:
        from aiobotocore.config import AioConfig
        from botocore import UNSIGNED
        from botocore.handlers import add_expect_header

        from .signing_clock import install_clock

        options = self._options
        session = self._botocore()
        config = AioConfig(
            connect_timeout=options.get("connect_timeout") or _CONNECT_TIMEOUT,
            read_timeout=self.read_timeout,
            max_pool_connections=self._max_requests,
            # A retry in there would wait with a permit, and would not read the file again.
            retries={"total_max_attempts": 1, "mode": "standard"},
            **self._connector_args(AioConfig),
            **_no_other_checksums(AioConfig.OPTION_DEFAULTS),
            **({"signature_version": UNSIGNED} if self.is_anonymous else {}),
        )
        try:
            client = await session.create_client(
                "s3",
                region_name=region,
                endpoint_url=options.get("endpointurl"),
                use_ssl=options.get("use_ssl", True),
                verify=options.get("ssl_verify"),
                aws_access_key_id=options.get("access_key_id"),
                aws_secret_access_key=options.get("secret_access_key"),
                aws_session_token=options.get("session_token"),
                config=config,
            ).__aenter__()
        except ValueError as error:  # an address that is none
            raise access_error(self.remote, BAD_OPTION, str(error)) from None
        # Some stores never answer it, and the request would hang.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        install_clock(client, self._get_clock_offset, self.credentials)
        return client

    def _connector_args(self, config: Any) -> dict[str, Any]:
        """Return the options with which the sockets of a client are known here."""
        from botocore.exceptions import ParamValidationError

        options = {"connector_args": {"socket_factory": self._make_socket}}
        try:
            config(**options)
        except ParamValidationError:  # an older version of aiobotocore
            return {}
        return options

    def _make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made


def _configures_an_endpoint(session: Any) -> bool:
    """Return whether a variable or a file may name an endpoint in place of AWS."""
    if any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
        return True
    return bool({"endpoint_url", "services"} & set(session.get_scoped_config()))


def _no_other_checksums(known: Container[str]) -> dict[str, str]:
    """Return the options that ask for no checksum but MD5, which each part has.

    Many stores know no other. Before 1.36, botocore sent none, and had no such options.
    """
    names = ("request_checksum_calculation", "response_checksum_validation")
    return {name: "when_required" for name in names if name in known}
