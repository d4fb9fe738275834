"""Log artifacts in the background, and follow their handles."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from cancelling import settled
from disk import md5
from gate import locked

from asynclive import ArtifactCancelledError, ArtifactHandle, ArtifactNotFoundError, AsyncLive

pytestmark = pytest.mark.anyio


async def test_a_handle_returns_the_record_of_log_artifact(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    async with AsyncLive(root=repo) as live:
        handle = await live.submit("model.pt", type="model", name="net", meta={"step": 1})
        assert (handle.name, handle.path) == ("net", repo / "model.pt")
        logged = await handle
        assert logged is await handle.wait()
        assert (logged.md5, logged.name, logged.meta) == (md5("weights"), "net", {"step": 1})
        assert handle.done
        assert handle.stage == "logged"


async def test_submit_returns_while_the_commit_waits_for_the_lock(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handle = await live.submit("model.pt")
            await settled()
            assert handle.stage == "staged"
            assert not handle.done
            (repo / "model.pt").unlink()
            gate.open()
            logged = await handle
    assert logged.md5 == md5("weights")
    assert "staged" not in repr(handle)


async def test_submit_raises_an_error_of_the_source(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactNotFoundError):
            await live.submit("missing")


async def test_a_cancelled_handle_raises_and_leaves_nothing(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    async with AsyncLive(root=repo) as live:
        with locked(repo):
            handle = await live.submit("model.pt", copy=True)
            handle.cancel()
            with pytest.raises(ArtifactCancelledError, match=r"'model.pt' was not logged"):
                await handle
            handle.cancel()
        assert handle.stage == "cancelled"
        assert live.statistics().cancelled == 1
    assert not (repo / "dvclive").exists()


async def test_cancelling_the_waiter_does_not_cancel_the_artifact(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    async with AsyncLive(root=repo) as live:
        with locked(repo):
            handle: ArtifactHandle = await live.submit("model.pt")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await handle
            assert scope.cancelled_caught
        assert (await handle).md5 == md5("weights")
