"""An ObjectStorage on the store of obstore that lies in memory, which counts requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.cloud.obstore_errors import Failure
from asynclive._remote.cloud.retried_requests import RetriedRequests
from asynclive._remote.cloud.store_access import StoreAccess
from asynclive._remote.remote_errors import Refusal
from asynclive._remote.request_budget import RequestBudget

REMOTE = RemoteDescription(
    "storage",
    "s3://bucket/dvc",
    "s3",
    "bucket/dvc/files/md5",
    {"access_key_id": "k", "endpointurl": "http://host", "secret_access_key": "s"},
)


class CountingBudget(RequestBudget):
    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.slowed_down = 0

    @asynccontextmanager
    async def request(self, sent_bytes: int = 0) -> AsyncIterator[None]:
        self.requests += 1
        async with super().request(sent_bytes):
            yield

    def slow_down(self) -> None:
        self.slowed_down += 1
        super().slow_down()


class FixedAccess(StoreAccess):
    """Gives a store that the test made. ``renewals`` are the refusals that it was told of."""

    def __init__(self, store: Any, helps: bool = False) -> None:
        super().__init__(REMOTE)
        self._store = store or object()
        self._helps = helps
        self.renewals: list[Refusal] = []

    async def renew(self, store: Any, failure: Failure, refusal: Refusal) -> bool:
        self.renewals.append(refusal)
        return self._helps


def make_requests(store: Any, budget: RequestBudget) -> RetriedRequests:
    return RetriedRequests(FixedAccess(store), budget)
