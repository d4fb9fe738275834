"""Signs requests with the time of the remote, if the clock of this machine is wrong."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.credentials import ReadOnlyCredentials


class _OffsetAuth(S3SigV4Auth):  # type: ignore[misc]  # it publishes no types
    """The signature of S3, made some seconds from now."""

    def __init__(
        self, credentials: ReadOnlyCredentials, service: str, region: str, offset: float
    ) -> None:
        super().__init__(credentials, service, region)
        self._offset = datetime.timedelta(seconds=offset)

    def _modify_request_before_signing(self, request: Any) -> None:
        now = datetime.datetime.now(datetime.timezone.utc) + self._offset
        request.context["timestamp"] = now.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)


def install_clock(
    client: Any,
    get_offset: Callable[[], float],
    get_credentials: Callable[[], Awaitable[dict[str, Any]]],
) -> None:
    """Sign the requests of one client with a corrected time. No other client is changed.

    Args:
        get_offset: returns the seconds to add to the clock of this machine.
        get_credentials: as ``S3Connection.credentials``.
    """

    async def sign_again(request: Any, **_: Any) -> None:
        offset = get_offset()
        if not offset or not request.headers.get("Authorization", "").startswith("AWS4-HMAC"):
            return
        found = await get_credentials()
        credentials = ReadOnlyCredentials(
            found["access_key_id"], found["secret_access_key"], found["token"]
        )
        signing = request.context.get("signing", {})
        _OffsetAuth(
            credentials,
            signing.get("signing_name", "s3"),
            signing.get("region", client.meta.region_name),
            offset,
        ).add_auth(request)

    # After the handler of botocore that signs.
    client.meta.events.register_last("request-created.s3", sign_again)
