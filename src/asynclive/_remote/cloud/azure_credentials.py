"""The default credentials of Azure, as DVC would find them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError


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
