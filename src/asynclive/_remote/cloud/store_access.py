"""StoreAccess: the store of obstore, opened again with new credentials or with its region.

The credentials of S3 come from S3Connection, those of Azure from its default chain, and obstore
finds those of Google Cloud Storage.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta, timezone
from typing import Any

import obstore.store

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import Refusal
from ..s3.s3_client import S3Address, S3Connection
from .obstore_errors import Failure
from .store_arguments import StoreArguments, azure_arguments, gs_arguments, s3_arguments

_WRONG_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}


class _Threads:
    """The threads of obstore. They belong to the process that has used it first."""

    def __init__(self) -> None:
        self._process: int | None = None

    def claim(self, remote: RemoteDescription) -> None:
        """Raise an error in a forked child: its requests would never be answered."""
        process = os.getpid()
        if self._process not in (None, process):
            raise RemoteAccessError(
                remote.name,
                "this process was forked from one that has pushed, and obstore has no threads "
                "here. Use isolation='process', or start this process by 'spawn'.",
            )
        self._process = process


_threads = _Threads()


class StoreAccess:
    """Opens the store of obstore when it is first needed, and again if a refusal can be helped.

    Args:
        remote: an object storage that asynclive sends to itself.
        connection: for S3, finds the address and the credentials. The caller closes it.
    """

    def __init__(self, remote: RemoteDescription, connection: S3Connection | None = None) -> None:
        self.remote = remote
        self._connection = connection
        self._azure = AzureDefaultCredentials(remote)
        self._region: str | None = None
        self._store: Any = None
        self._opens = asyncio.Lock()  # protects the store: it is opened once for all requests

    async def store(self) -> Any:
        """Return the store.

        Raises:
            RemoteAccessError: an option cannot be used, or there are no credentials.
        """
        if self._store is None:
            async with self._opens:
                if self._store is None:
                    self._store = await self._open()
        return self._store

    async def renew(self, store: Any, failure: Failure, refusal: Refusal) -> bool:
        """Open the store anew, if that may help; tell whether another try makes sense.

        Args:
            store: the one that was refused. If it is no longer in use, another request renewed it.
            failure: the refusal.
            refusal: the kind of it.
        """
        if refusal is Refusal.CLOCK:
            return True  # it was signed, and then waited too long: the next try is signed anew
        async with self._opens:
            if store is not self._store:
                return True
            if refusal is Refusal.EXPIRED and self._connection is not None:
                may_help = await self._connection.renew()
            else:
                may_help = await self._correct_region(failure)
            if may_help:
                self._store = None
            return may_help

    async def aclose(self) -> None:
        """Close the connections of credentials. obstore closes its own."""
        await self._azure.aclose()

    async def _correct_region(self, failure: Failure) -> bool:
        """Use the region of the bucket from now on, unless the options name one."""
        is_wrong = failure.code in _WRONG_REGION
        if not is_wrong or self._connection is None or self.remote.options.get("region"):
            return False
        region = failure.region or await self._connection.ask_for_region()
        is_new = region != self._region
        self._region = region
        return is_new

    async def _open(self) -> Any:
        _threads.claim(self.remote)
        arguments, provider = await self._find_arguments()
        try:
            return getattr(obstore.store, arguments.kind)(
                arguments.bucket,
                prefix=arguments.prefix,
                config=arguments.config,
                client_options=arguments.client,
                retry_config=self._retry_config(),
                credential_provider=provider,
            )
        except Exception as error:
            # Its text may hold the value of an option.
            raise RemoteAccessError(
                self.remote.name,
                f"obstore refuses the options of the remote ({type(error).__name__}). "
                "Compare 'dvc config --list' with DVC's page on this kind of remote.",
            ) from None

    def _retry_config(self) -> dict[str, Any]:
        """Return how often obstore itself makes a request again.

        RetriedRequests does that, except for the parts of a large file that obstore sends.
        """
        if self._connection is not None:
            return {"max_retries": 0}
        return {"max_retries": 10, "retry_timeout": timedelta(seconds=30)}

    async def _find_arguments(self) -> tuple[StoreArguments, Any]:
        """Return the arguments of the store, and the provider of credentials that they need."""
        provider: Any = None
        if self._connection is not None:
            arguments = s3_arguments(self.remote, await self._find_address(self._connection))
            provider = self._connection.credentials
        elif self.remote.scheme == "gs":
            arguments = gs_arguments(self.remote)
        else:
            arguments, provider = azure_arguments(self.remote), self._azure.token
        if not arguments.needs_credentials:
            return arguments, None
        # An error of the provider says more here than within a request of obstore.
        try:
            await provider()
        except Exception as error:
            raise self._explain(error) from None
        return arguments, provider

    async def _find_address(self, connection: S3Connection) -> S3Address:
        try:
            address = await connection.address()
        except Exception as error:
            raise self._explain(error) from None
        return address if self._region is None else address._replace(region=self._region)

    def _explain(self, error: Exception) -> Exception:
        """Return the error that tells the user of one that came up before any request."""
        if isinstance(error, RemoteAccessError):
            return error
        if self.remote.scheme == "s3":
            # It imports botocore, which has raised the error.
            from ..s3.s3_requests import explain

            return explain(self.remote, error)
        return RemoteAccessError(
            self.remote.name,
            f"Azure gives no token: {error}. Log in with 'az login', or run "
            f"'dvc remote modify --local {self.remote.name} account_key KEY'.",
            option="account_key",
        )


class AzureDefaultCredentials:
    """The default chain of Azure: environment, the machine's identity, its command line.

    obstore calls ``token``, and again before that expires.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        self._remote = remote
        self._chain: Any = None

    async def token(self) -> dict[str, Any]:
        """Return a token, as obstore names its parts."""
        try:
            from azure.identity.aio import DefaultAzureCredential
        except ImportError:
            raise RemoteAccessError(
                self._remote.name,
                "its options name no credentials, and azure-identity is not installed. "
                "Run pip install 'asynclive[azure]', or "
                f"'dvc remote modify --local {self._remote.name} account_key KEY'.",
                option="account_key",
            ) from None
        if self._chain is None:
            self._chain = DefaultAzureCredential()
        token = await self._chain.get_token("https://storage.azure.com/.default")
        return {
            "token": token.token,
            "expires_at": datetime.fromtimestamp(token.expires_on, timezone.utc),
        }

    async def aclose(self) -> None:
        """Close the connections of the chain."""
        if self._chain is not None:
            await self._chain.close()
