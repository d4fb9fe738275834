"""Sessions that push to S3: the order of the requests, their number, and what DVC finds after."""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from backends import Isolation, in_both, on_asyncio
from pushed_objects import (
    assert_listings_last,
    assert_pulled_alike,
    assert_pushed,
    key_of,
    keys_of,
    make_files,
)
from s3_proxy import Hold, Request, S3Proxy, always, is_upload
from s3_server import Bucket

from asynclive import AsyncLive, PushPolicy

pytestmark = pytest.mark.anyio


def is_listing(request: Request) -> bool:
    return is_upload(request) and request.key.endswith(".dir")


@pytest.fixture
def remote(repo: Path, bucket: Bucket, proxy: S3Proxy) -> S3Proxy:
    """The default remote of the repository: the bucket, behind the proxy."""
    bucket.add_remote(repo, endpoint=proxy.endpoint)
    return proxy


@in_both
async def test_a_listing_follows_the_proof_of_its_files(
    repo: Path, bucket: Bucket, remote: S3Proxy, isolation: Isolation
) -> None:
    names = [f"data{number}" for number in range(3)]
    for name in names:
        make_files(repo / name, 20)
    async with AsyncLive(root=repo, push=True, isolation=isolation) as live:
        for name in names:
            await live.submit(name)

    assert_listings_last(repo, remote, *names)
    assert_pushed(repo, bucket)


@on_asyncio
async def test_dvc_finds_the_remote_in_sync_and_pulls_every_byte(
    repo: Path, remote: S3Proxy, tmp_path: Path
) -> None:
    make_files(repo / "data" / "sub", 5)
    (repo / "data" / "empty").touch()
    (repo / "model.bin").write_bytes(b"model")
    async with AsyncLive(root=repo, push=True) as live:
        await live.log_artifact("data", type="dataset")
        await live.log_artifact("model.bin", type="model")

    assert_pulled_alike(repo, tmp_path / "clone")


async def test_before_commit_a_dvc_file_follows_the_listing(
    repo: Path, bucket: Bucket, remote: S3Proxy
) -> None:
    hold = Hold()
    remote.rule = always(hold, to=is_listing)
    make_files(repo / "data", 5)
    async with AsyncLive(root=repo, push=PushPolicy(when="before_commit")) as live:
        handle = await live.submit("data", type="dataset")
        await anyio.to_thread.run_sync(hold.wait_until_reached)
        assert not (repo / "data.dvc").exists()
        assert not (repo / "dvc.yaml").exists()
        hold.open()
        await handle
        assert_pushed(repo, bucket, "data")
    assert (repo / "dvc.yaml").exists()


@on_asyncio
async def test_an_object_in_flight_for_two_artifacts_is_sent_once(
    repo: Path, bucket: Bucket, remote: S3Proxy
) -> None:
    for name in ("one", "two"):
        (repo / name).mkdir()
        (repo / name / "own").write_text(name)
        (repo / name / "shared").write_text("shared")
    shared, own = (key_of(hashlib.md5(text).hexdigest()) for text in (b"shared", b"two"))
    hold = Hold()
    remote.rule = always(hold, to=lambda request: is_upload(request) and request.key == shared)
    async with AsyncLive(root=repo, push=True) as live:
        handles = [await live.submit("one")]
        await anyio.to_thread.run_sync(hold.wait_until_reached)
        handles.append(await live.submit("two"))
        # Then the second push has looked for its objects, and the shared one was not there.
        sent = partial(_was_sent, remote, own)
        await anyio.to_thread.run_sync(remote.wait_until, sent)
        hold.open()
        results = [await handle.pushed() for handle in handles]

    assert [each.key for each in remote.uploads].count(shared) == 1
    assert [(result.objects, result.skipped) for result in results] == [(3, 0), (2, 1)]
    assert_pushed(repo, bucket)


def _was_sent(proxy: S3Proxy, key: str) -> bool:
    return any(each.key == key and each.succeeded for each in proxy.uploads)


@on_asyncio
async def test_all_of_200_wrong_objects_are_found_replaced_and_named(
    repo: Path, bucket: Bucket, remote: S3Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_files(repo / "data", 210)
    async with AsyncLive(root=repo, push=True) as live:
        await live.log_artifact("data")
    damaged = [key for key in sorted(keys_of(repo)) if not key.endswith(".dir")][:200]
    for index, key in enumerate(damaged):
        if index % 4 == 0:
            bucket.delete(key)
        else:
            whole = bucket.get(key)
            bucket.put(key, [b"", whole[:-1], whole[::-1]][index % 4 - 1])

    with caplog.at_level(logging.WARNING, "asynclive"):
        async with AsyncLive(root=repo) as live:
            result = await live.push()

    assert (result.objects, result.skipped) == (200, 11)
    assert "They are sent again (200)" in caplog.text
    assert_pulled_alike(repo, tmp_path / "clone")


@on_asyncio
async def test_a_push_of_nothing_new_takes_few_requests(
    repo: Path, bucket: Bucket, remote: S3Proxy
) -> None:
    names = [f"artifact-{number:03}" for number in range(300)]
    for name in names:
        (repo / name).write_text(name)
    async with AsyncLive(root=repo) as live:
        async with anyio.create_task_group() as task_group:
            for name in names:
                task_group.start_soon(live.log_artifact, name)
        first = await live.push()
    assert first.objects == 300
    remote.forget()
    async with AsyncLive(root=repo) as live:
        second = await live.push()

    assert (second.objects, second.skipped, second.verified_by) == (0, 300, "etag")
    assert [each.method for each in remote.requests] == ["GET"]


@on_asyncio
async def test_all_pushes_together_keep_to_the_number_of_requests(
    repo: Path, bucket: Bucket, remote: S3Proxy
) -> None:
    async with AsyncLive(root=repo, push=PushPolicy(max_requests=3)) as live:
        for number in range(4):
            make_files(repo / f"data{number}", 10)
            await live.submit(f"data{number}")

    assert remote.most_at_once <= 3
    assert_pushed(repo, bucket)
