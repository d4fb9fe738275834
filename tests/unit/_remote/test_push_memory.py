"""The memory that a push of very many objects takes, on top of the objects themselves."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from backends import on_asyncio
from remotes import ScriptedStore, make_remote

from asynclive._artifact.push_records import PushObject, PushUnit, RemoteDescription
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget

pytestmark = [pytest.mark.anyio, on_asyncio]

# A fifth of the objects, and of the bytes, of the promise.
OBJECTS = 20_000
MOST_BYTES = 200 * 10**6 // 5


async def test_a_push_of_many_objects_takes_little_memory() -> None:
    budget = RequestBudget()
    objects = [
        PushObject(hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest(), 1, f"d/{number}")
        for number in range(OBJECTS)
    ]
    unit = PushUnit("/repo/d", make_remote(), "/cache", objects, PushObject("0.dir", 1, "d"))

    async def open_store(_: RemoteDescription) -> ScriptedStore:
        return ScriptedStore(budget)

    pusher = Pusher(open_store, budget)
    tracemalloc.start()
    try:
        result = await pusher.push([unit], "store", PushCounts())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.objects == OBJECTS + 1
    assert peak < MOST_BYTES
