"""Each kind of system call fails with EIO, once, at each of its places in turn.

Each artifact is then either old or new, as the outcome of its call says, and the error is an
AsyncLiveError. When the disk works again, the same object logs the same artifacts.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import session_files
from failing import CALLS, counted, full, nth_failing
from invariants import assert_nothing_lost, assert_sound
from logged import (
    Artifact,
    errors,
    log_all,
    write_all,
)
from tally import SURVIVED
from twin import dvc

from asynclive import AsyncLive

pytestmark = pytest.mark.anyio

# Logged for a temp file that could not be removed, or not be listed for removal; the end of the
# session removes it. Which calls a removal takes depends on shutil and the version of Python.
STAYS = "cannot be removed now"
# Used only with cache.type = reflink,copy.
LINKS = ("symlink", "readlink")


def places(total: int, most: int) -> list[int]:
    """Return at most ``most`` numbers below ``total``: the first, the last, some in between."""
    if most == 1:
        return [total // 2]
    return sorted({round(index * (total - 1) / (most - 1)) for index in range(most)})


def names_path(message: str, temp: Path) -> bool:
    return any(f"'{path}'" in message for path in (temp, *temp.parents))


async def fail_each(
    repo: Path, calls: list[str], error: int, most: int, log: pytest.LogCaptureFixture
) -> int:
    """Make each of these calls fail at up to ``most`` of its places; return how many failed."""
    artifacts = [
        Artifact(repo, "small", False),
        Artifact(repo, "large", True),
        Artifact(repo, "directory", False),
        Artifact(repo, "directory", True),
    ]
    failures = 0
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
                failures += len(fault.failed_calls)
                assert_sound(repo)
                kept = [record.getMessage() for record in log.records if STAYS in record.msg]
                assert [
                    temp
                    for temp in session_files(repo)
                    if not any(names_path(message, temp) for message in kept)
                ] == []
                again = [one for one in artifacts if one.name in failed]
                assert not errors(again, await log_all(live, again))
    assert_nothing_lost(repo)
    assert session_files(repo) == []
    SURVIVED["system calls failed with EIO"] += failures
    return failures


async def test_one_failed_call_of_each_kind_loses_nothing(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [call for call in CALLS if call not in LINKS]
    # How often asynclive makes a call varies a little between runs.
    assert await fail_each(repo, calls, errno.EIO, 1, caplog) > len(calls) // 2


@on_asyncio
async def test_no_failed_undo_is_logged_for_a_file_that_was_not_replaced(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = [Artifact(repo, "small", False), Artifact(repo, "small", True)]
    async with AsyncLive(root=repo) as live:
        for known in (False, True):
            write_all(artifacts)
            with full(r"small(-copied)?\.dvc$") as fault:
                assert len(errors(artifacts, await log_all(live, artifacts))) == len(artifacts)
            assert len(fault.failed_calls) == len(artifacts), known
            assert "could not be taken back" not in caplog.text
            assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@on_asyncio
@pytest.mark.long
@pytest.mark.parametrize("call", [call for call in CALLS if call not in LINKS])
async def test_one_failed_call_loses_nothing_at_any_of_its_places(
    repo: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await fail_each(repo, [call], errno.EIO, 8, caplog)


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
async def test_one_failed_call_loses_nothing_if_files_are_links(
    repo: Path, cache_type: str, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    dvc(repo, "config", "cache.type", cache_type)
    assert await fail_each(repo, [call], errno.EIO, 6, caplog)
