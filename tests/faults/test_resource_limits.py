"""No thread, process or descriptor to be had: typed errors, and the block can be left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import leftovers, write
from invariants import assert_nothing_lost, assert_sound
from isolated import before_worker
from limits import at_most_more_open_files

from asynclive import AsyncLive, AsyncLiveError, ResourceLimitError, WorkerDiedError

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits"),
]


@contextmanager
def at_most_more_threads(count: int) -> Iterator[None]:
    """Let the block start ``count`` threads; the system refuses others, as with RLIMIT_NPROC."""
    start, left = threading.Thread.start, [None] * count

    def limited(self: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        yield


# The same in the worker process.
LIMITED = """
import threading
start, left = threading.Thread.start, [None] * {}
def limited(self):
    if not left:
        raise RuntimeError("can't start new thread")
    left.pop()
    start(self)
threading.Thread.start = limited
"""


def make(repo: Path) -> None:
    write(repo, {f"data/{number}": str(number) for number in range(300)})
    write(repo, {"small": "s", "big": "b" * 2_000_000})


async def log_all(repo: Path, isolation: Isolation) -> list[Exception]:
    """Log three artifacts in a block; return the errors, of which each must be typed."""
    errors: list[Exception] = []

    async def log(live: AsyncLive, path: str) -> None:
        try:
            await live.log_artifact(path, copy=True)
        except AsyncLiveError as error:
            errors.append(error)

    try:
        async with (
            AsyncLive(root=repo, isolation=isolation) as live,
            anyio.create_task_group() as tasks,
        ):
            for path in ("data", "small", "big"):
                tasks.start_soon(log, live, path)
    except AsyncLiveError as error:
        errors.append(error)
    return errors


async def assert_next_session_works(repo: Path, isolation: Isolation) -> None:
    assert_sound(repo)
    assert await log_all(repo, isolation) == []
    assert leftovers(repo) == []
    assert_nothing_lost(repo)


@in_both
@pytest.mark.parametrize("count", range(5))
async def test_without_threads_for_the_session_a_typed_error_is_raised_or_fewer_work(
    repo: Path, count: int, isolation: Isolation
) -> None:
    make(repo)
    # In a thread of its own: this one has threads of earlier tests, which are free.
    outcome: list[Any] = []

    def run() -> None:
        with at_most_more_threads(count):
            outcome.extend(anyio.run(log_all, repo, isolation))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    # One works, and one says that the session lives.
    if count < (2 if isolation == "thread" else 1):
        assert [type(error) for error in outcome] == [ResourceLimitError]
        assert "ulimit -u" in str(outcome[0])
    else:  # it goes on with fewer
        assert outcome == []
    await assert_next_session_works(repo, isolation)


@on_asyncio
@pytest.mark.parametrize("count", range(4))
async def test_without_threads_for_the_worker_a_typed_error_is_raised_or_fewer_work(
    repo: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(repo)
    with monkeypatch.context() as patch:
        before_worker(patch, LIMITED.format(count))
        errors = await log_all(repo, "process")
    assert [type(error) for error in errors] == [ResourceLimitError] * (count < 2)
    await assert_next_session_works(repo, "process")


@on_asyncio
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM], ids=errno.errorcode.get)
async def test_without_another_process_entering_says_which_limit_to_raise(
    repo: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    make(repo)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        with pytest.raises(WorkerDiedError, match="ulimit -u"):
            async with AsyncLive(root=repo, isolation="process"):
                pass
    await assert_next_session_works(repo, "process")


@in_both
@on_asyncio
async def test_without_descriptors_entering_raises_a_typed_error(
    repo: Path, isolation: Isolation
) -> None:
    make(repo)
    assert await log_all(repo, isolation) == []  # everything is imported now
    failed = 0
    for count in range(0, 40, 2):
        with at_most_more_open_files(count):
            errors = await log_all(repo, isolation)
        failed += bool(errors)
        assert_sound(repo)
        if not errors:
            break
    assert failed
    assert not errors
    # Removing a directory takes a descriptor too. A session of the next process removes the
    # temp files that are left: this process still lives.
    assert_sound(repo)


def test_a_blocking_object_raises_that_there_is_no_thread_for_its_event_loop(repo: Path) -> None:
    with (
        at_most_more_threads(0),
        pytest.raises(ResourceLimitError),
        AsyncLive.blocking(root=repo),
    ):
        pass


@on_asyncio
async def test_progress_is_not_shown_without_a_thread_that_draws(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(repo)
    async with AsyncLive(root=repo, progress=False) as live:
        await live.log_artifact("small")  # now a thread is free
        with at_most_more_threads(0):
            async with AsyncLive(root=repo, progress=True, isolation="process") as other:
                await other.log_artifact("big")
    assert "Progress is not shown: can't start new thread." in caplog.messages
