"""Credentials that the options of a remote do not name: where DVC would find them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio
import anyio.to_thread

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import NO_CREDENTIALS, access_error

# botocore renews credentials itself, 15 minutes before they expire. Asking again costs little.
_TTL = timedelta(minutes=5)


class S3SessionCredentials:
    """The credentials of a session of botocore: environment, profiles, files, the machine's role.

    obstore calls it for credentials, and again before they expire.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        self._remote = remote
        self._limiter = anyio.CapacityLimiter(1)
        self._credentials: Any = None
        self._session: Any = None

    async def __call__(self) -> dict[str, Any]:
        """Return credentials, as obstore names their parts.

        Raises:
            RemoteAccessError: there are none, or the profile does not exist.
        """
        return await anyio.to_thread.run_sync(self._resolve, limiter=self._limiter)

    async def find_setting(self, name: str) -> str | None:
        """Return a setting of the profile: ``region`` or ``endpoint_url``."""
        return await anyio.to_thread.run_sync(self._find_setting, name, limiter=self._limiter)

    def _find_setting(self, name: str) -> str | None:
        if self._session is None:
            self._session = _open_session(self._remote)
        found = self._session.get_scoped_config().get(name)
        return found if isinstance(found, str) else None

    def _resolve(self) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError

        try:
            if self._session is None:
                self._session = _open_session(self._remote)
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            if self._credentials is None:
                raise access_error(self._remote, NO_CREDENTIALS)
            frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            # They name files, profiles and variables, and hold no secrets.
            raise access_error(self._remote, NO_CREDENTIALS, str(error)) from None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _TTL,
        }


def _open_session(remote: RemoteDescription) -> Any:
    """Return a session of botocore that reads what DVC's options name."""
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    options = remote.options
    session = botocore.session.Session(profile=options.get("profile"))
    # DVC sets these variables for its process if they are not set. So a variable wins.
    for setting, option, variable in (
        ("credentials_file", "credentialpath", "AWS_SHARED_CREDENTIALS_FILE"),
        ("config_file", "configpath", "AWS_CONFIG_FILE"),
    ):
        if options.get(option) and not os.environ.get(variable):
            session.set_config_variable(setting, os.fspath(options[option]))
    try:
        session.get_scoped_config()
    except ProfileNotFound:
        raise RemoteAccessError(
            remote.name,
            f"there is no profile '{session.profile}' in the configuration of AWS. "
            f"Run 'dvc remote modify --local {remote.name} profile NAME'.",
            option="profile",
        ) from None
    return session


def environment_credentials(options: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the credentials of the environment, if botocore would take them first; else None.

    It spares the import of botocore.
    """
    if options.get("profile") or os.environ.get("AWS_PROFILE"):
        return None
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not (key and secret):
        return None
    found = {"access_key_id": key, "secret_access_key": secret}
    token = os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN")
    return {**found, "session_token": token} if token else found


class AzureDefaultCredentials:
    """The default chain of Azure: environment, the machine's identity, its command line.

    obstore calls it for a token, and again before that expires.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        self._remote = remote
        self._chain: Any = None

    async def __call__(self) -> dict[str, Any]:
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
