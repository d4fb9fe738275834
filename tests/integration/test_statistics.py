"""Read ``statistics()`` while a call is held in each state, and after calls have ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from disk import write_numbered
from gate import gate_at, locked

import asynclive._stage.source
from asynclive import ArtifactNotFoundError, AsyncLive, AsyncLiveStatistics, InvalidMetadataError
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._engine.group_commit import GroupCommitter

pytestmark = pytest.mark.anyio

STATES = ("waiting", "staging", "staged", "committing", "logged", "failed", "cancelled")


def states(live: AsyncLive) -> dict[str, int]:
    """Return the states with at least one call."""
    now = live.statistics()
    found = {state: getattr(now, state) for state in STATES if getattr(now, state)}
    assert now.in_flight == sum(found.get(state, 0) for state in STATES[:4])
    return found


def when_submitted(patch: pytest.MonkeyPatch, count: int) -> anyio.Event:
    """Return an event that is set once ``count`` artifacts wait for their group."""
    submitted = anyio.Event()
    submit: Callable[..., Any] = GroupCommitter.submit
    seen = 0

    async def counted(self: GroupCommitter[Any, Any], *item: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == count:
            submitted.set()  # the waiting test runs once this task waits for its group
        return await submit(self, *item)

    patch.setattr(GroupCommitter, "submit", counted)
    return submitted


async def test_a_call_is_counted_in_each_of_its_states(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write_numbered(repo, 1)
    stops = {
        "waiting": gate_at(monkeypatch, asynclive._stage.source, "make_plan"),
        "staging": gate_at(monkeypatch, ObjectStore, "put"),
        "staged": gate_at(monkeypatch, DvcRepository, "acquire"),
        "committing": gate_at(monkeypatch, DvcRepository, "commit"),
    }
    live = AsyncLive(root=repo, workers=2)
    assert states(live) == {}
    async with live:
        assert states(live) == {}
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(live.log_artifact, path, "model")
            for state, stop in stops.items():
                await stop.reached.wait()
                assert states(live) == {state: 1}
                assert live.statistics().busy_workers == (state in ("waiting", "staging"))
                stop.open()
        assert states(live) == {"logged": 1}
    assert live.statistics() == AsyncLiveStatistics(
        waiting=0,
        staging=0,
        staged=0,
        committing=0,
        logged=1,
        failed=0,
        cancelled=0,
        superseded=0,
        files_staged=1,
        bytes_staged=10,
        files_unchanged=0,
        bytes_unchanged=0,
        group_sizes={1: 1},
        busy_workers=0,
        total_workers=2,
    )


async def test_calls_that_arrive_during_a_commit_form_the_next_group(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_numbered(repo, 4)
    commit = gate_at(monkeypatch, DvcRepository, "commit")
    submitted = when_submitted(monkeypatch, 4)
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        task_group.start_soon(live.log_artifact, paths[0])
        await commit.reached.wait()
        for path in paths[1:]:
            task_group.start_soon(live.log_artifact, path)
        await submitted.wait()
        assert states(live) == {"committing": 1, "staged": 3}
        assert live.statistics().groups == 0
        commit.open()
    assert states(live) == {"logged": 4}
    assert live.statistics().group_sizes == {1: 1, 3: 1}
    assert live.statistics().groups == 2


async def test_calls_that_wait_for_the_lock_are_counted_as_staged(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_numbered(repo, 3)
    submitted = when_submitted(monkeypatch, 3)
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            for path in paths:
                task_group.start_soon(live.log_artifact, path)
            await submitted.wait()
            assert states(live) == {"staged": 3}
            gate.open()
    assert live.statistics().group_sizes == {3: 1}


async def test_a_failed_call_is_counted_and_a_refused_one_is_not(repo: Path) -> None:
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactNotFoundError):
            await live.log_artifact("missing.bin")
        with pytest.raises(InvalidMetadataError):
            await live.log_artifact(path, meta={"function": print})
        assert states(live) == {"failed": 1}
        await live.log_artifact(path)
        assert states(live) == {"failed": 1, "logged": 1}


async def test_a_cancelled_call_is_counted_before_and_during_its_commit(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, commits = write_numbered(repo, 2)
    submitted = when_submitted(monkeypatch, 1)
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(live.log_artifact, waits)
                await submitted.wait()
                task_group.cancel_scope.cancel()
            assert states(live) == {"cancelled": 1}
            gate.open()
            stop = gate_at(monkeypatch, DvcRepository, "commit")
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(live.log_artifact, commits)
                await stop.reached.wait()
                task_group.cancel_scope.cancel()
                assert states(live) == {"cancelled": 1, "committing": 1}
                stop.open()
            assert states(live) == {"cancelled": 1, "logged": 1}
            assert live.statistics().group_sizes == {1: 1}
            assert commits.with_name(f"{commits.name}.dvc").exists()
            assert not waits.with_name(f"{waits.name}.dvc").exists()


async def test_files_and_bytes_are_counted_when_done_even_if_the_call_fails(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = repo / "tree"
    tree.mkdir()
    write_numbered(tree, 5)
    (repo / "large.bin").write_bytes(bytes(3 * 2**20))
    (repo / "copied.bin").write_bytes(bytes(7))
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(tree)
        assert (live.statistics().files_staged, live.statistics().bytes_staged) == (5, 50)
        await live.log_artifact("large.bin", copy=True)
        await live.log_artifact("copied.bin", type="model", copy=True, cache=False)
        now = live.statistics()
        assert (now.files_staged, now.bytes_staged) == (7, 50 + 3 * 2**20 + 7)
        await live.log_artifact("large.bin", type="model", cache=False)
        assert live.statistics().files_staged == 7


async def test_returned_statistics_do_not_change(repo: Path) -> None:
    (path,) = write_numbered(repo, 1)
    async with AsyncLive(root=repo) as live:
        before = live.statistics()
        await live.log_artifact(path)
        assert before.logged == 0
        assert before.groups == 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            before.logged = 1  # type: ignore[misc]
        with pytest.raises(TypeError):
            before.group_sizes[1] = 1  # type: ignore[index]
