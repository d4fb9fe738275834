"""The remote fails while a session pushes: the push goes on, or its error is the caller's own.

In both cases the artifacts stay committed, and the next push sends the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import anyio.to_thread
import pytest
from backends import Isolation, in_both, on_asyncio
from invariants import assert_nothing_lost, entries
from pushed_objects import (
    assert_no_listing_lacks_files,
    assert_pulled_alike,
    assert_pushed,
    make_files,
)
from s3_proxy import (
    DENIED,
    SKEWED,
    SLOW_DOWN,
    UNKNOWN_KEY,
    Cut,
    Hold,
    Reply,
    Request,
    S3Proxy,
    always,
    every,
    first,
    is_upload,
)
from s3_server import Bucket
from tally import SURVIVED
from twin import dvc

from asynclive import AsyncLive, PushError, PushPolicy, RemoteAccessError
from perf.harness.loop_filesystem import NotPossibleError, mounted, resize

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

pytestmark = [pytest.mark.anyio, on_asyncio]

MIB = 2**20
# The smallest parts that S3 takes: the large file of `write_sources` has three.
IN_PARTS = PushPolicy(part_size=5 * MIB)


@pytest.fixture
def remote(repo: Path, bucket: Bucket, proxy: S3Proxy) -> S3Proxy:
    """The default remote of the repository: the bucket, behind the proxy."""
    bucket.add_remote(repo, endpoint=proxy.endpoint)
    return proxy


def write_sources(repo: Path) -> None:
    make_files(repo / "data", 30)
    (repo / "large.bin").write_bytes(b"large" * (12 * MIB // 5))


async def log_sources(live: AsyncLive) -> None:
    for name in ("data", "large.bin"):
        await live.log_artifact(name, type="dataset")


def assert_committed(repo: Path) -> None:
    """Check that both artifacts are logged, whatever became of their pushes."""
    assert sorted(entries(repo)) == ["data", "large"]
    assert_nothing_lost(repo)
    assert "up to date" in dvc(repo, "status")


def refuse_a_fifth(proxy: S3Proxy) -> None:
    proxy.rule = every(5, SLOW_DOWN)


def cut_bodies_off(proxy: S3Proxy) -> None:
    proxy.rule = first(8, Cut(after_bytes=3), to=is_upload)


def lose_answers(proxy: S3Proxy) -> None:
    proxy.rule = first(8, Cut(), to=is_upload)


def find_signatures_too_old(proxy: S3Proxy) -> None:
    """Refuse the first request for each key, as if it had waited for long after it was signed."""
    seen: set[str] = set()

    def rule(request: Request) -> Reply | None:
        if not is_upload(request) or request.key in seen:
            return None
        seen.add(request.key)
        return SKEWED

    proxy.rule = rule


def each_of(*faults: Callable[[S3Proxy], None]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=[fault.__name__ for fault in faults])


@in_both
@each_of(refuse_a_fifth, cut_bodies_off, lose_answers, find_signatures_too_old)
async def test_a_push_succeeds_in_spite_of_a_fault(
    repo: Path,
    bucket: Bucket,
    remote: S3Proxy,
    fault: Callable[[S3Proxy], None],
    isolation: Isolation,
) -> None:
    fault(remote)
    write_sources(repo)
    async with AsyncLive(root=repo, push=IN_PARTS, isolation=isolation) as live:
        await log_sources(live)

    assert_pushed(repo, bucket)
    assert any(each.status in (None, 403, 503) for each in remote.requests)
    SURVIVED["faults of a remote that a push survived"] += 1


def be_gone(proxy: S3Proxy) -> None:
    proxy.refuse()


def deny(proxy: S3Proxy) -> None:
    proxy.rule = always(DENIED)


def refuse_the_key(proxy: S3Proxy) -> None:
    proxy.rule = always(UNKNOWN_KEY)


def skew_the_clock(proxy: S3Proxy) -> None:
    proxy.clock_offset = timedelta(minutes=20)


ADVICE = {
    be_gone: "'dvc remote modify storage endpointurl",
    deny: "'dvc remote modify --local storage profile",
    refuse_the_key: "'dvc remote modify --local storage access_key_id",
    skew_the_clock: "Set the clock of this machine",
}


@each_of(*ADVICE)
async def test_a_remote_that_refuses_fails_each_push_and_no_artifact(
    repo: Path,
    bucket: Bucket,
    remote: S3Proxy,
    fault: Callable[[S3Proxy], None],
    tmp_path: Path,
) -> None:
    fault(remote)
    write_sources(repo)
    with refused_on_leaving():
        async with AsyncLive(root=repo, push=True) as live:
            await live.log_artifact("large.bin", type="model")  # nothing awaits its push
            handle = await live.submit("data", type="dataset")
            with pytest.raises(RemoteAccessError, match=ADVICE[fault]) as refused:
                await handle.pushed()
            assert refused.value.remote == "storage"
            with pytest.raises(RemoteAccessError):
                await live.push()

    assert_committed(repo)
    assert bucket.keys() == set()
    remote.rule, remote.clock_offset = None, timedelta()
    if fault is be_gone:
        remote.listen()
    async with AsyncLive(root=repo) as live:
        await live.push()
    assert_pushed(repo, bucket)
    assert_pulled_alike(repo, tmp_path / "clone")


async def test_a_bucket_that_does_not_exist_is_named(repo: Path, bucket: Bucket) -> None:
    bucket.add_remote(repo, url="s3://no-such-bucket/dvc")
    write_sources(repo)
    with refused_on_leaving() as caught:
        async with AsyncLive(root=repo, push=IN_PARTS) as live:
            await log_sources(live)
    for error in caught:
        assert isinstance(error, RemoteAccessError)
        assert error.option == "url"
        assert "no-such-bucket" in str(error)
    assert_committed(repo)


@contextmanager
def refused_on_leaving() -> Iterator[list[Exception]]:
    """Expect that leaving the block raises the errors of pushes that nothing awaited."""
    caught: list[Exception] = []
    with pytest.raises(ExceptionGroup) as group:
        yield caught
    caught += group.value.exceptions
    assert caught
    assert all(isinstance(error, PushError) for error in caught), caught


@contextmanager
def small_disk(tmp_path: Path, size: int) -> Iterator[Path]:
    try:
        with mounted("tmpfs", size, tmp_path) as point:
            yield point
    except NotPossibleError as error:
        pytest.skip(str(error))


async def test_a_full_disk_behind_a_local_remote_fails_the_push_alone(
    repo: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path, 4 * MIB) as disk:
        dvc(repo, "remote", "add", "--default", "storage", str(disk / "remote"))
        write_sources(repo)
        with refused_on_leaving() as caught:
            async with AsyncLive(root=repo, push=True) as live:
                await log_sources(live)
        assert ["No space left" in str(error) for error in caught] == [True]
        assert_committed(repo)
        left = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
        assert left < MIB  # no part of the large file

        resize(disk, 64 * MIB, 1000)
        async with AsyncLive(root=repo) as live:
            result = await live.push()
        assert (result.objects, result.skipped) == (1, 31)
        assert_pulled_alike(repo, tmp_path / "clone")


@in_both
async def test_an_exception_stops_the_sending_and_undoes_nothing(
    repo: Path, bucket: Bucket, remote: S3Proxy, isolation: Isolation, tmp_path: Path
) -> None:
    hold = Hold()
    sent = iter(range(20))
    remote.rule = lambda request: hold if is_upload(request) and next(sent, None) is None else None
    write_sources(repo)

    async def fail_while_pushing() -> None:
        async with AsyncLive(root=repo, push=IN_PARTS, isolation=isolation) as live:
            await log_sources(live)
            await anyio.to_thread.run_sync(hold.wait_until_reached)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_while_pushing()

    assert_committed(repo)
    assert_no_listing_lacks_files(repo, bucket)
    hold.drop()
    remote.rule = None
    async with AsyncLive(root=repo) as live:
        result = await live.push()
    assert 0 < result.objects < 32
    assert_pushed(repo, bucket)
    assert_pulled_alike(repo, tmp_path / "clone")
