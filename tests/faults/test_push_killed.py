"""All processes of a session are killed while it pushes: the next push goes on where it stopped."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest
from backends import Isolation, in_both, on_asyncio
from invariants import assert_sound
from pushed_objects import assert_no_listing_lacks_files, assert_pushed, make_files
from s3_proxy import Hold, S3Proxy, is_upload
from s3_server import Bucket
from session_process import running
from tally import SURVIVED

from asynclive import AsyncLive
from perf.harness.push_steps import kill_all

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]

PART = 5 * 2**20
PARTS = 10

_PROGRAM = """
import sys
import anyio
from asynclive import AsyncLive, PushPolicy

async def main():
    policy = PushPolicy(part_size=int(sys.argv[2]))
    async with AsyncLive(push=policy, isolation=sys.argv[1]) as live:
        await live.submit("source")

anyio.run(main)
"""


async def kill_when_held(repo: Path, isolation: Isolation, hold: Hold, proxy: S3Proxy) -> None:
    """Push ``source`` in another process; kill it when all requests in flight are held."""
    with running(_PROGRAM, isolation, str(PART), cwd=repo) as process:
        await anyio.to_thread.run_sync(hold.wait_until_reached)
        await anyio.to_thread.run_sync(proxy.wait_until, partial(_all_held, proxy))
        kill_all(process.pid)
    hold.drop()
    proxy.rule = None
    proxy.forget()


def _all_held(proxy: S3Proxy) -> bool:
    uploads = proxy.uploads
    return sum(each.succeeded for each in uploads) == PARTS // 2


@in_both
async def test_a_large_file_is_resumed_after_a_kill_at_half(
    repo: Path, bucket: Bucket, proxy: S3Proxy, isolation: Isolation
) -> None:
    bucket.add_remote(repo, endpoint=proxy.endpoint)
    (repo / "source").write_bytes(b"".join(bytes([n]) * PART for n in range(PARTS)))
    hold = Hold()
    passed = iter(range(PARTS // 2))
    proxy.rule = lambda request: hold if is_upload(request) and next(passed, None) is None else None
    await kill_when_held(repo, isolation, hold, proxy)
    assert_sound(repo)
    assert (repo / "source.dvc").exists()
    assert len(bucket.uploads()) == 1

    async with AsyncLive(root=repo) as live:
        result = await live.push()

    assert proxy.uploaded_bytes <= 0.6 * PART * PARTS
    assert result.resumed_bytes >= 0.4 * PART * PARTS
    assert (result.objects, result.bytes) == (1, PART * PARTS)
    assert_pushed(repo, bucket)
    SURVIVED["pushes of a large file resumed after a kill"] += 1


@in_both
async def test_a_directory_is_completed_after_a_kill(
    repo: Path, bucket: Bucket, proxy: S3Proxy, isolation: Isolation
) -> None:
    bucket.add_remote(repo, endpoint=proxy.endpoint)
    make_files(repo / "source", 3 * PARTS)
    hold = Hold()
    passed = iter(range(PARTS // 2))
    proxy.rule = lambda request: hold if is_upload(request) and next(passed, None) is None else None
    await kill_when_held(repo, isolation, hold, proxy)
    assert_sound(repo)
    assert_no_listing_lacks_files(repo, bucket)

    async with AsyncLive(root=repo) as live:
        result = await live.push()

    assert (result.objects, result.skipped) == (3 * PARTS + 1 - PARTS // 2, PARTS // 2)
    assert_pushed(repo, bucket)
