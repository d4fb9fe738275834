"""Cancel a submitted artifact at every stage: it is logged, or leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import three_ways
from cancelling import in_task, settled
from disk import leftovers, look
from gate import gate_at, locked

import asynclive._ingest.copy_and_hash
import asynclive._stage.source
import asynclive._stage.stager
from asynclive import ArtifactCancelledError, ArtifactHandle, AsyncLive
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository

pytestmark = pytest.mark.anyio

LARGE = 3 * 2**20


GATES = {
    "queued": (asynclive._stage.source, "make_plan"),
    "copied": (asynclive._ingest.copy_and_hash.LargeFile, "_copy_step"),
    "hashed": (asynclive._ingest.copy_and_hash.LargeFile, "_hash_step"),
    "published": (ObjectStore, "publish"),
    "staged": (DvcRepository, "acquire"),
    "committing": (DvcRepository, "commit"),
}


def prepare(repo: Path) -> dict[str, str]:
    (repo / "artifact").write_bytes(b"x" * LARGE)
    (repo / ".dvc" / "cache" / "files" / "md5").mkdir(parents=True)  # entering makes it
    return look(repo, objects=False)


def check_nothing_is_left(repo: Path, before: dict[str, str]) -> None:
    assert look(repo, objects=False) == before
    assert leftovers(repo) == []


@pytest.mark.parametrize("at", ["hashed", "published", "staged", "committing"])
@pytest.mark.parametrize("values", [{}, {"copy": True}, {"move": True}], ids=str)
async def test_a_handle_cancelled_at_a_stage_leaves_nothing_or_is_logged(
    repo: Path, monkeypatch: pytest.MonkeyPatch, at: str, values: dict[str, bool]
) -> None:
    before = prepare(repo)
    gate = gate_at(monkeypatch, *GATES[at])
    async with AsyncLive(root=repo) as live:
        handle: ArtifactHandle = await live.submit("artifact", "model", **values)
        with gate.opened_after():
            await gate.reached.wait()
            assert handle.stage == {"hashed": "staging", "published": "staging"}.get(at, at)
            handle.cancel()
        if at == "committing":
            assert (await handle).size == LARGE
            assert handle.stage == "logged"
            return
        with pytest.raises(ArtifactCancelledError):
            await handle
        assert handle.stage == "cancelled"
        assert live.statistics().cancelled == 1
        # The artifact can be logged again at once.
        assert (await (await live.submit("artifact"))).size == LARGE
        (repo / "artifact.dvc").unlink()
        (repo / ".gitignore").unlink()
    before_inodes = {name: said for name, said in before.items() if name != "git status"}
    after = look(repo, objects=False)
    assert {name: after.get(name) for name in before_inodes} == before_inodes
    assert leftovers(repo) == []


@three_ways
@pytest.mark.parametrize("at", ["queued", "copied"])
async def test_submit_cancelled_before_the_snapshot_leaves_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch, at: str, way: str
) -> None:
    before = prepare(repo)
    gate = gate_at(monkeypatch, *GATES[at])
    async with AsyncLive(root=repo) as live:
        async with in_task(way, lambda: live.submit("artifact", "model", copy=True)) as call:
            with gate.opened_after():
                await gate.reached.wait()
                call.cancel()
                await settled()
        assert call.cancelled
        assert live.statistics().cancelled == 1
    check_nothing_is_left(repo, before)


@three_ways
async def test_cancelling_a_waiter_leaves_the_artifact_alone(
    repo: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    prepare(repo)
    gate = gate_at(monkeypatch, *GATES["hashed"])
    async with AsyncLive(root=repo) as live:
        handle = await live.submit("artifact")
        with gate.opened_after():
            async with in_task(way, handle.wait) as call:
                await gate.reached.wait()
                call.cancel()
            assert call.cancelled
        assert (await handle).size == LARGE
    assert (repo / "artifact.dvc").exists()


async def test_a_file_that_an_earlier_call_has_linked_is_logged_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls plan the same file; the first one links it before the second is staged."""
    (repo / ".dvc" / "config").write_text("[cache]\n    type = hardlink\n")
    (repo / "artifact").write_text("small")
    stage = asynclive._stage.stager.Stager.stage
    attempts = 0
    planned = anyio.Event()

    async def stage_after_the_first(self: Any, *args: Any, **values: Any) -> Any:
        nonlocal attempts
        attempts += 1
        planned.set()
        await first
        return await stage(self, *args, **values)

    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            first = await live.submit("artifact")
            monkeypatch.setattr(asynclive._stage.stager.Stager, "stage", stage_after_the_first)
            async with in_task("scope", lambda: live.submit("artifact")) as call:
                # The first call links the file only once the gate is open.
                await planned.wait()
                gate.open()
        second: ArtifactHandle = call.result
        assert (await second).md5 == (await first).md5
    assert attempts == 2
    assert (repo / "artifact").stat().st_nlink == 2
