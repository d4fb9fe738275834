"""Cancel calls at gates in every stage, in three ways: each is logged or leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.from_thread
import pytest
from backends import WAYS
from disk import leftovers, look, session_files
from twin import dvc

import asynclive._ingest.copy_and_hash
import asynclive._stage.stage_job
import asynclive._stage.stager
from asynclive import AsyncLive, LoggedArtifact, NotActiveError
from asynclive._dvc.repository.dvc_repository import DvcRepository

pytestmark = pytest.mark.anyio


class WasCancelledError(Exception):
    """Stands for the cancellation, which has another class on each event loop."""


async def call_and_cancel(
    way: str, log: Callable[[], Any], arm: Callable[[Callable[[], None]], None]
) -> LoggedArtifact:
    """Call ``log`` after passing ``arm`` the function that cancels it.

    Raises:
        WasCancelledError: the call was cancelled.
    """
    if way == "scope":
        with anyio.CancelScope() as scope:
            arm(scope.cancel)
            return await log()
        raise WasCancelledError
    if way == "task.cancel":
        task = asyncio.ensure_future(log())
        arm(task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise WasCancelledError from None
    # wait_for: cancelling the waiter stands for its timeout
    waiter = asyncio.ensure_future(asyncio.wait_for(log(), timeout=3600))
    arm(waiter.cancel)
    try:
        return await waiter
    except asyncio.CancelledError:
        raise WasCancelledError from None


def make_artifact(repo: Path, kind: str) -> Path:
    path = repo / "artifact"
    if kind == "small":
        path.write_bytes(b"small")
    elif kind == "large":
        path.write_bytes(bytes(range(256)) * 4096 * 6)
    else:
        for number in range(200):
            below = path / str(number % 5) / f"{number}.bin"
            below.parent.mkdir(parents=True, exist_ok=True)
            below.write_bytes(b"%d" % number)
    return path


@pytest.mark.parametrize(
    ("anyio_backend", "way", "kind", "copy"),
    [
        # Each way to cancel with one kind of artifact, each kind of artifact with one way.
        *((loop, way, "small", False) for loop, ways in WAYS.items() for way in ways),
        *(("asyncio", "scope", kind, False) for kind in ("large", "directory")),
        *(("asyncio", "scope", kind, True) for kind in ("small", "large", "directory")),
    ],
)
async def test_a_call_cancelled_at_any_checkpoint_leaves_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch, way: str, kind: str, copy: bool
) -> None:
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "STEP_BYTES", 2**20)
    path = make_artifact(repo, kind)
    real_check = anyio.from_thread.check_cancelled
    checks = cancel_at = 0
    cancel: Callable[[], None] | None = None

    lock = threading.Lock()  # one thread copies a large file, another one hashes it

    def counted_check() -> None:
        nonlocal checks, cancel
        now = None
        with lock:
            checks += 1
            if checks >= cancel_at:
                now, cancel = cancel, None
        if now is not None:
            anyio.from_thread.run_sync(now)
        real_check()

    def arm(function: Callable[[], None]) -> None:
        nonlocal cancel
        cancel = function

    monkeypatch.setattr(anyio.from_thread, "check_cancelled", counted_check)
    async with AsyncLive(root=repo) as live:

        async def log() -> LoggedArtifact:
            return await live.log_artifact(path, type="model", name="one", copy=copy)

        before = look(repo, objects=False)
        moments = 0
        cancel_at = 1
        # Each of the first checkpoints, then every 29th: large artifacts have hundreds.
        while True:
            checks = 0
            with contextlib.suppress(WasCancelledError):
                logged = await call_and_cancel(way, log, arm)
                break
            moments += 1
            assert look(repo, objects=False) == before
            assert session_files(repo) == []
            cancel_at += 1 if cancel_at < 8 else 29
        assert logged.name == "one"
    assert moments >= (1 if kind == "small" else 6)
    assert "up to date" in dvc(repo, "status")


async def test_an_exception_in_the_block_cancels_a_copy_and_leaves_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_artifact(repo, "large")
    reached = anyio.Event()
    real_check = anyio.from_thread.check_cancelled

    def announcing_check() -> None:
        anyio.from_thread.run_sync(reached.set)
        real_check()

    announcing = SimpleNamespace(check_cancelled=announcing_check)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "from_thread", announcing)
    (repo / ".dvc" / "cache" / "files" / "md5").mkdir(parents=True)  # entering makes it
    before = look(repo, objects=False)
    errors: list[Exception] = []

    async def log(live: AsyncLive) -> None:
        try:
            await live.log_artifact(path, type="model", copy=True)
        except Exception as error:
            errors.append(error)

    async def fail_inside() -> None:
        async with AsyncLive(root=repo) as live:
            task_group.start_soon(log, live)
            await reached.wait()
            raise ZeroDivisionError

    async with anyio.create_task_group() as task_group:
        with pytest.raises(ZeroDivisionError):
            await fail_inside()
    assert [type(error) for error in errors] == [NotActiveError]
    assert leftovers(repo) == []
    assert look(repo, objects=False) == before


async def test_cancelling_the_outer_scope_while_leaving_ends_the_block(repo: Path) -> None:
    paths = [repo / f"{number}.bin" for number in range(10)]
    for path in paths:
        path.write_bytes(path.name.encode())
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as task_group, AsyncLive(root=repo) as live:
            for path in paths:
                task_group.start_soon(live.log_artifact, path)
            scope.cancel()
    assert scope.cancelled_caught
    assert leftovers(repo) == []
    async with AsyncLive(root=repo) as live:
        assert (await live.log_artifact(paths[0])).size == 5


async def test_a_block_cancelled_while_entering_leaves_no_session(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = DvcRepository.open
    with anyio.CancelScope() as scope:

        def cancelling_open(root: str, *, durable: bool) -> DvcRepository:
            anyio.from_thread.run_sync(scope.cancel)
            return opened(root, durable=durable)

        monkeypatch.setattr(DvcRepository, "open", cancelling_open)
        async with AsyncLive(root=repo):
            pytest.fail("entered, though cancelled")
    assert list(repo.glob(".dvc/tmp/asynclive-*")) == []
    assert list(repo.glob(".dvc/cache/**/.asynclive-*")) == []
