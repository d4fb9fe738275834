"""Tests of the tries of a request to S3. test_multipart_upload.py has those of whole uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import on_asyncio
from botocore.exceptions import EndpointConnectionError
from cloud_store import REMOTE, CountingBudget

from asynclive._errors import RemoteAccessError
from asynclive._remote.s3.s3_client import S3Connection
from asynclive._remote.s3.s3_requests import Patience, S3Requests

pytestmark = [pytest.mark.anyio, on_asyncio]

BODY = 8 * 2**20
RESET = EndpointConnectionError(endpoint_url="http://host", error=OSError("reset"))


class UnusedConnection(S3Connection):
    """Gives a client that the requests of these tests do not use."""

    def __init__(self) -> None:
        super().__init__(REMOTE, 1)

    async def client(self) -> Any:
        return None


class Script:
    """A request whose tries take minutes of a clock that the test owns, and end as it says."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = [*ends]
        self._now = 1000.0

    def clock(self) -> float:
        return self._now

    async def __call__(self, client: Any) -> str:
        self._now += 300
        end = self.ends.pop(0)
        if end is not None:
            raise end
        return "reply"


def make_requests(clock: Callable[[], float]) -> S3Requests:
    patience = Patience(longest_pause=0.001)
    return S3Requests(UnusedConnection(), CountingBudget(), patience, clock)


@pytest.mark.parametrize(
    "failures", [[RESET], [TimeoutError()] * 3], ids=["broken off", "too slow"]
)
async def test_a_large_body_on_a_slow_line_is_sent_again(failures: list[Exception]) -> None:
    script = Script(None, *failures, None)
    requests = make_requests(script.clock)
    await requests.send(script)
    # The last answer is minutes ago: all connections share the line.
    assert await requests.send(script, BODY) == "reply"


@pytest.mark.parametrize(("size", "tries"), [(0, 1), (BODY, 4)])
async def test_a_body_that_always_takes_too_long_is_an_error(size: int, tries: int) -> None:
    script = Script(*[TimeoutError()] * tries)
    with pytest.raises(RemoteAccessError, match="does not answer"):
        await make_requests(script.clock).send(script, size)
    assert not script.ends
