"""Cancelled while 10 GB are copied and hashed: a chunk later nothing goes on.

No clock is asked: what is counted is what is still handled once the call was cancelled.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from cancelling import settled
from disk import look
from moments import Moments

import asynclive._link
from asynclive import AsyncLive
from asynclive._large import CHUNK_BYTES

pytestmark = pytest.mark.anyio

SIZE = 10 * 10**9
_HANDLING = ("copy_file_range", "sendfile", "read", "pread", "preadv", "write")


@pytest.mark.parametrize("number", [20, 60, 200])
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
async def test_cancelled_while_10_gb_are_copied_and_hashed_it_ends_within_some_chunks(
    repo: Path, monkeypatch: pytest.MonkeyPatch, copy: bool, number: int
) -> None:
    source = repo / "huge"
    source.touch()
    os.truncate(source, SIZE)  # it takes no space
    moments = Moments(monkeypatch)
    async with AsyncLive(root=repo, workers=3) as live:
        moments.live = live
        before = look_at_all_but(repo, source)
        call, what = await moments.cancel_at(
            ("stage", number), "scope", lambda: live.log_artifact(source, type="data", copy=copy)
        )
        assert what
        assert call.cancelled
        after = moments.calls - moments.calls_before_cancelling
        # Of each thread the chunk that it is at, which may be written twice.
        assert sum(after[name] for name in _HANDLING) * CHUNK_BYTES <= 2**20
        # Taking it back is two or three names, and nothing that grows with the file.
        assert after.total() <= 20
        assert look_at_all_but(repo, source) == before
    assert moments.running == 0


async def test_cancelled_while_a_large_file_is_made_anew_from_its_object_it_ends_within_a_step(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As DVC does to a file with other names: a hard link to it is not to be written through.
    source = repo / "linked"
    source.write_bytes(bytes(range(256)) * 4 * 1024 * 4)
    os.link(source, repo / "other name")
    monkeypatch.setattr(asynclive._link.copy_step, "__defaults__", (2**16,))
    real, steps = asynclive._link.copy_file, 0

    def held(source_fd: int, path: str, checkpoint: Callable[[], None]) -> None:
        def counted() -> None:
            nonlocal steps
            steps += 1
            if steps == 3:
                anyio.from_thread.run_sync(scope.cancel)
                anyio.from_thread.run(settled)  # the caller hands his cancellation on
            checkpoint()

        real(source_fd, path, counted)

    monkeypatch.setattr(asynclive._link, "copy_file", held)
    async with AsyncLive(root=repo) as live:
        before = look(repo, objects=False)
        with anyio.CancelScope() as scope:
            await live.log_artifact(source)
        assert scope.cancelled_caught
        assert steps == 3
        assert look(repo, objects=False) == before


def look_at_all_but(repo: Path, source: Path) -> dict[str, str]:
    """``look``, without reading the 10 GB."""
    aside = repo.parent / source.name
    source.rename(aside)
    try:
        return look(repo, objects=False)
    finally:
        aside.rename(source)
