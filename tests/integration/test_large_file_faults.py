"""A large file is sent to S3 through a proxy that does harm."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from backends import on_asyncio
from object_storages import describe, ignore_bytes, key_of, make_object, open_storage
from psutil import Process
from s3_proxy import SLOW_DOWN, Cut, Hold, Reply, Rule, S3Proxy, every, first
from s3_server import Bucket

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import PushObject
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.s3.multipart_etag import MIB
from asynclive._remote.store import Sent

pytestmark = [pytest.mark.anyio, on_asyncio]

POLICY = PushPolicy(part_size=5 * MIB)


@pytest.fixture
def obj(tmp_path: Path) -> PushObject:
    return make_object(tmp_path, os.urandom(MIB) * 22)


async def send(
    bucket: Bucket, proxy: S3Proxy, cache: Path, obj: PushObject, budget: RequestBudget
) -> Sent:
    remote = describe(bucket, endpointurl=proxy.endpoint)
    async with open_storage(remote, cache / "state", budget, POLICY) as store:
        return await store.send(obj, str(cache / obj.md5), ignore_bytes)


@pytest.mark.parametrize(
    "rule",
    [
        every(5, SLOW_DOWN),
        every(5, Reply(500, "InternalError")),
        every(4, Cut()),
        every(4, Cut(after_bytes=MIB)),
        first(3, Cut(after_bytes=1)),
    ],
    ids=["busy", "failing", "replies lost", "bodies cut off", "hanging up"],
)
async def test_a_file_gets_through(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, obj: PushObject, rule: Rule
) -> None:
    proxy.rule = rule
    budget = RequestBudget(4)
    assert (await send(bucket, proxy, tmp_path, obj, budget)).verified_by == "etag"
    assert bucket.get(key_of(obj)) == (tmp_path / obj.md5).read_bytes()
    assert bucket.uploads() == []
    assert proxy.most_at_once <= budget.max_requests


async def test_a_clock_that_is_20_minutes_off_is_corrected(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, obj: PushObject
) -> None:
    proxy.clock_offset = timedelta(minutes=20)
    assert (await send(bucket, proxy, tmp_path, obj, RequestBudget(4))).verified_by == "etag"
    assert [each.status for each in proxy.requests].count(403) == 1
    assert bucket.uploads() == []


async def test_a_cancelled_push_leaves_no_connection_open(
    bucket: Bucket, proxy: S3Proxy, tmp_path: Path, obj: PushObject
) -> None:
    hold = Hold()
    proxy.rule = lambda request: hold if request.part is not None else None
    remote = describe(bucket, endpointurl=proxy.endpoint)
    async with (
        open_storage(remote, tmp_path / "state", policy=POLICY) as store,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(store.send, obj, str(tmp_path / obj.md5), ignore_bytes)
        # The server reads no body, so the bytes of each part wait in a connection.
        await anyio.to_thread.run_sync(hold.wait_until_reached)
        tasks.cancel_scope.cancel()
    left = [each for each in Process().net_connections("tcp") if each.raddr[1:] == (proxy.port,)]
    assert left == []
    hold.drop()
