"""Tests of the tries of a request. test_object_storage_refusals.py has those at a server."""

from __future__ import annotations

from typing import Any

import pytest
from backends import on_asyncio
from cloud_store import CountingBudget, FixedAccess

from asynclive._errors import RemoteAccessError
from asynclive._remote.cloud.retried_requests import RetriedRequests

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
