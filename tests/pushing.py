"""Push what DVC tracks in a repository, without a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from asynclive._artifact.push_policy import Verify
from asynclive._artifact.push_records import PushRequest, PushResult, RemoteDescription
from asynclive._dvc.remote.by_dvc.open_dvc_store import open_dvc_store
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import RemoteStore

OpenStore = Callable[[RemoteDescription, RequestBudget], Awaitable[RemoteStore]]
"""Opens a store. None: that of DVC's own classes."""


async def push_all(
    repo: Path,
    request: PushRequest | None = None,
    *,
    verify: Verify | None = "store",
    open_store: OpenStore | None = None,
    counts: PushCounts | None = None,
) -> PushResult:
    """Push the targets of a request, or all outputs, by the stores that ``open_store`` opens."""
    budget = RequestBudget(4)

    repository = DvcRepository.open(str(repo.resolve()))

    async def open_one(remote: RemoteDescription) -> RemoteStore:
        if open_store is not None:
            return await open_store(remote, budget)
        remote = replace(remote, only_dvc=remote.only_dvc or "a test")
        return await open_dvc_store(remote, budget, partial(repository.record_versions, 60))

    pusher = Pusher(open_one, budget)
    try:
        units = repository.units_to_push(request or PushRequest())
        return await pusher.push(units, verify, counts or PushCounts())
    finally:
        await pusher.aclose()
        repository.close()
