"""EIO from every kind of system call, one at a time, in each of its places in turn.

Whatever fails: each artifact is wholly old or wholly new, as its call says, and the error is of
our own tree. Then the disk is well again, and the same object logs the same artifacts.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from failing import CALLS, counted, full, nth_failing
from invariants import assert_nothing_lost, assert_sound
from logged import Artifact, errors, log_all, mostly_asyncio, on_asyncio, temp_files, write_all
from tally import SURVIVED
from twin import dvc

from asynclive import AsyncLive

pytestmark = pytest.mark.anyio

# Said of what could not be removed, or not even looked at so that it could be: it goes with the
# session. Which calls that takes is the business of shutil, and differs between Pythons.
STAYS = "cannot be removed now"
# For the files of cache.type = reflink,copy.
LINKS = ("symlink", "readlink")


def places(total: int, most: int) -> list[int]:
    """At most so many of the numbers below ``total``: the first, the last, and some between."""
    if most == 1:
        return [total // 2]
    return sorted({round(index * (total - 1) / (most - 1)) for index in range(most)})


def is_said(temp: Path, message: str) -> bool:
    return any(f"'{path}'" in message for path in (temp, *temp.parents))


async def strike(
    repo: Path, calls: list[str], error: int, most: int, log: pytest.LogCaptureFixture
) -> int:
    """Let each of these calls fail once, in so many of its places; returns how many they were."""
    artifacts = [
        Artifact(repo, "small", False),
        Artifact(repo, "large", True),
        Artifact(repo, "directory", False),
        Artifact(repo, "directory", True),
    ]
    struck = 0
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        write_all(artifacts)
        with counted() as numbers:
            assert not errors(artifacts, await log_all(live, artifacts))
        for call in calls:
            assert numbers[call], f"{call} is not called any more"
            for number in places(numbers[call], most):
                write_all(artifacts)
                with nth_failing(call, number, error) as fault:
                    outcomes = await log_all(live, artifacts)
                failed = errors(artifacts, outcomes)
                struck += len(fault.struck)
                assert_sound(repo)
                said = [record.getMessage() for record in log.records if STAYS in record.msg]
                assert [
                    temp for temp in temp_files(repo) if not any(is_said(temp, of) for of in said)
                ] == []
                again = [one for one in artifacts if one.name in failed]
                assert not errors(again, await log_all(live, again))
    assert_nothing_lost(repo)
    assert temp_files(repo) == []
    SURVIVED["system calls failed with EIO"] += struck
    return struck


@mostly_asyncio
async def test_a_call_of_each_kind_that_fails_loses_nothing(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [call for call in CALLS if call not in LINKS]
    # How often a call is made varies by little from one time to the next.
    assert await strike(repo, calls, errno.EIO, 1, caplog) > len(calls) // 2


@on_asyncio
async def test_what_was_not_replaced_is_not_said_to_be_half_taken_back(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = [Artifact(repo, "small", False), Artifact(repo, "small", True)]
    async with AsyncLive(root=repo) as live:
        for known in (False, True):
            write_all(artifacts)
            with full(r"small(-copied)?\.dvc$") as fault:
                assert len(errors(artifacts, await log_all(live, artifacts))) == len(artifacts)
            assert len(fault.struck) == len(artifacts), known
            assert "could not be taken back" not in caplog.text
            assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@on_asyncio
@pytest.mark.long
@pytest.mark.parametrize("call", [call for call in CALLS if call not in LINKS])
async def test_one_call_that_fails_loses_nothing_wherever_it_is(
    repo: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await strike(repo, [call], errno.EIO, 8, caplog)


@on_asyncio
@pytest.mark.long
@pytest.mark.parametrize(
    ("cache_type", "call"),
    [
        (cache_type, call)
        for cache_type in ("hardlink", "symlink")
        for call in ("link", "symlink", "exchange", "chmod", "lstat")
        if (cache_type, call) != ("hardlink", "symlink")
    ],
)
async def test_where_files_are_links_it_is_the_same(
    repo: Path, cache_type: str, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    assert await strike(repo, [call], errno.EIO, 6, caplog)
