"""StoreAccess: the store of obstore, opened again with new credentials or with its region."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import Refusal
from .credentials import AzureDefaultCredentials, S3SessionCredentials, environment_credentials
from .obstore_errors import Failure
from .store_arguments import StoreArguments, make_arguments, region_of_environment

_WRONG_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_EXTRAS = {"s3": "s3", "gs": "gs", "azure": "azure"}


class StoreAccess:
    """Opens the store of obstore when it is first needed, and again if a refusal can be helped.

    Args:
        remote: an object storage that asynclive sends to itself.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        self.remote = remote
        self._store: Any = None
        self._opens = asyncio.Lock()  # protects the store: it is opened once for all requests
        self._region: str | None = None
        self._renewed = False
        self._azure: AzureDefaultCredentials | None = None

    @property
    def arguments(self) -> StoreArguments:
        """The arguments of the store, without credentials that are looked for."""
        return make_arguments(self.remote, self._region)

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
            if refusal is Refusal.EXPIRED and not self._renewed:
                self._renewed = True
                self._store = None
                return True
            region = failure.region
            if failure.code in _WRONG_REGION and region and self._may_choose(region):
                self._region = region
                self._store = None
                return True
        return False

    async def aclose(self) -> None:
        """Close the connections of credentials. obstore closes its own."""
        if self._azure is not None:
            await self._azure.aclose()

    def _may_choose(self, region: str) -> bool:
        return not self.remote.options.get("region") and region != self._region

    async def _open(self) -> Any:
        try:
            import obstore.store
        except ImportError:
            extra = _EXTRAS[self.remote.scheme]
            raise RemoteAccessError(
                self.remote.name,
                f"obstore is not installed. Run pip install 'asynclive[{extra}]'.",
            ) from None
        arguments = self.arguments
        config = dict(arguments.config)
        provider: S3SessionCredentials | AzureDefaultCredentials | None = None
        if self.remote.scheme == "s3":
            provider = await self._find_s3_credentials(arguments, config)
        elif self.remote.scheme == "azure" and not arguments.explicit_credentials:
            provider = self._azure = AzureDefaultCredentials(self.remote)
            await self._azure()  # its error says more here than in a request of obstore
        try:
            return getattr(obstore.store, arguments.kind)(
                arguments.bucket,
                prefix=arguments.prefix,
                config=config,
                client_options=arguments.client,
                # RetriedRequests tries again itself.
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
                credential_provider=provider,
            )
        except Exception as error:
            # Its text may hold the value of an option.
            raise RemoteAccessError(
                self.remote.name,
                f"obstore refuses its options ({type(error).__name__}). Compare them with "
                f"'dvc remote list --show-origin' and with DVC's page on remotes.",
            ) from None

    async def _find_s3_credentials(
        self, arguments: StoreArguments, config: dict[str, Any]
    ) -> S3SessionCredentials | None:
        """Complete the configuration, or return the provider of credentials."""
        if arguments.explicit_credentials:
            return None
        found = environment_credentials(self.remote.options)
        if found is not None:
            config.update(found)
            return None
        provider = S3SessionCredentials(self.remote)
        await provider()
        region = await provider.find_setting("region")
        if region and self._may_choose(region) and not region_of_environment():
            config["region"] = self._region or region
        return provider
