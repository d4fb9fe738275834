"""Tests of the tries of a request. test_object_storage_refusals.py has those at a server."""

from __future__ import annotations

from typing import Any

import pytest
from backends import on_asyncio
from cloud_store import CountingBudget, FixedAccess
from obstore.exceptions import GenericError

from asynclive._errors import RemoteAccessError
from asynclive._remote.cloud import retried_requests
from asynclive._remote.cloud.retried_requests import RetriedRequests
from asynclive._remote.remote_errors import RequestFailedError

pytestmark = [pytest.mark.anyio, on_asyncio]


async def is_too_slow(store: Any) -> None:
    raise TimeoutError


@pytest.mark.parametrize(("size", "tries"), [(0, 1), (1000, 1), (8 * 2**20, 4)])
async def test_a_large_body_that_takes_too_long_is_tried_with_fewer_requests(
    size: int, tries: int
) -> None:
    budget = CountingBudget()
    requests = RetriedRequests(FixedAccess(None), budget, outage_seconds=0, first_outage_seconds=0)
    with pytest.raises(RemoteAccessError, match="too long"):
        await requests.run(is_too_slow, size)
    assert (budget.requests, budget.slowed_down) == (tries, tries)


async def test_an_error_of_the_caller_passes_through_and_frees_the_permit() -> None:
    budget = CountingBudget()
    requests = RetriedRequests(FixedAccess(None), budget)

    async def fail(store: Any) -> None:
        raise KeyError("of the caller")

    with pytest.raises(KeyError):
        await requests.run(fail)
    async with budget.request():
        assert budget.requests == 2


class Script:
    """A request whose tries take seconds of a clock that the test owns, and end as it says."""

    def __init__(self, *ends: Exception | None, seconds: float = 0) -> None:
        self.ends = [*ends]
        self.tries = 0
        self._now = 1000.0
        self._seconds = seconds

    def clock(self) -> float:
        return self._now

    async def __call__(self, store: Any) -> str:
        self.tries += 1
        self._now += self._seconds
        end = self.ends.pop(0)
        if end is not None:
            raise end
        return "reply"


RESET = GenericError("Generic S3 error: error sending request\n\nDebug source:\n")


async def test_a_connection_that_breaks_after_minutes_of_sending_is_no_outage() -> None:
    # All connections of a slow line break at once, so the last answer is minutes ago as well.
    script = Script(None, RESET, None, seconds=100)
    requests = RetriedRequests(FixedAccess(None), CountingBudget(), clock=script.clock)
    await requests.run(script)
    assert await requests.run(script) == "reply"


FULL = "Server returned non-2xx status code: 507 Insufficient Storage: <Code>StorageFull</Code>"
BUSY = "Server returned non-2xx status code: 503 Slow Down: <Code>SlowDown</Code>"


@pytest.mark.parametrize(
    ("said", "words"), [(FULL, "StorageFull"), (BUSY, "fewer requests")], ids=["full", "busy"]
)
async def test_a_remote_that_fails_each_request_ends_the_push_and_not_one_object_after_another(
    monkeypatch: pytest.MonkeyPatch, said: str, words: str
) -> None:
    monkeypatch.setattr(retried_requests, "_TRIES", 2)
    monkeypatch.setattr(retried_requests, "_LONGEST_PAUSE", 0.001)
    script = Script(None, *[GenericError(said)] * 7, seconds=5)
    requests = RetriedRequests(FixedAccess(None), CountingBudget(), clock=script.clock)
    await requests.run(script)
    with pytest.raises(RemoteAccessError, match=words):
        await requests.run(script)
    assert script.tries == 8


async def test_an_object_that_fails_while_others_are_answered_ends_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retried_requests, "_TRIES", 3)
    monkeypatch.setattr(retried_requests, "_LONGEST_PAUSE", 0.001)
    script = Script(*[GenericError(FULL), GenericError(FULL), None, GenericError(FULL)], seconds=1)
    requests = RetriedRequests(FixedAccess(None), CountingBudget(), clock=script.clock)

    async def fail_beside_another(store: Any) -> None:
        if script.tries == 2:
            await requests.run(script)
        await script(store)

    with pytest.raises(RequestFailedError, match="3 times"):
        await requests.run(fail_beside_another)
