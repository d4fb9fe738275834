"""Push logged artifacts: after their commit or before it, and by ``push()``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from directory_remote import DirectoryRemote
from disk import leftovers, look, md5, write
from gate import gate_at, locked
from invariants import assert_nothing_lost
from test_loop import no_blocking
from twin import dvc

from asynclive import (
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    AsyncLiveError,
    InvalidDataTypeError,
    PushError,
    PushPolicy,
    RemoteNotFoundError,
)
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._remote.directory.object_directory import ObjectDirectory

pytestmark = pytest.mark.anyio

FILES = {"model.pt": "weights", "data/a": "a", "data/b/same": "a", "data/b/other": "other"}
BEFORE = PushPolicy(when="before_commit")

in_both_orders = pytest.mark.parametrize(
    "policy", [PushPolicy(), BEFORE], ids=["after commit", "before commit"]
)


@pytest.fixture
def remote(repo: Path) -> DirectoryRemote:
    write(repo, FILES)
    return DirectoryRemote(repo)


def refuse(patch: pytest.MonkeyPatch, *md5s: str) -> None:
    """Let the remote refuse these objects; without any, all objects."""
    publish = ObjectDirectory.publish

    def refused(self: ObjectDirectory, temp: str, name: str) -> Any:
        if not md5s or name in md5s:
            raise PermissionError(13, "the test refuses")
        return publish(self, temp, name)

    patch.setattr(ObjectDirectory, "publish", refused)


@in_both_orders
async def test_logged_artifacts_are_in_the_remote_when_the_block_is_left(
    repo: Path, remote: DirectoryRemote, policy: PushPolicy
) -> None:
    async with AsyncLive(root=repo, push=policy) as live:
        await live.log_artifact("model.pt")
        handle = await live.submit("data")
    result = await handle.pushed()
    assert (result.remote, result.objects, result.backend) == ("store", 3, "local")
    assert set(remote.objects) == {
        *(md5(text) for text in FILES.values()),
        (await handle).md5,
    }
    assert "in sync" in dvc(repo, "status", "-c")
    assert leftovers(repo.parent) == []


async def test_a_call_returns_before_its_push_ends(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    async with AsyncLive(root=repo, push=True) as live:
        with gate.opened_after():
            handle = await live.submit("model.pt")
            await handle
            await gate.reached.wait()
            assert (repo / "model.pt.dvc").exists()
            assert not remote.objects
            assert live.statistics().pushing == 1
            # Others are staged and committed in parallel.
            await live.log_artifact("data")
        assert (await handle.pushed()).objects == 1
        assert remote.objects[md5("weights")] == b"weights"


async def test_before_commit_an_artifact_is_pushed_and_then_tracked(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_at(monkeypatch, DvcRepository, "commit")
    async with AsyncLive(root=repo, push=BEFORE) as live:
        with gate.opened_after():
            handle = await live.submit("data", "dataset")
            await gate.reached.wait()
            assert remote.has_listing()
            assert not (repo / "data.dvc").exists()
        logged = await handle
        assert logged.md5 in remote.objects
        assert (await handle.pushed()).objects == 3


@pytest.mark.parametrize("values", [{}, {"copy": True}, {"move": True}], ids=str)
async def test_before_commit_a_failed_push_leaves_nothing_of_the_artifact(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch, values: dict[str, bool]
) -> None:
    (repo / ".dvc" / "cache" / "files" / "md5").mkdir(parents=True)  # entering makes it
    before = look(repo, objects=False)
    refuse(monkeypatch)
    async with AsyncLive(root=repo, push=BEFORE) as live:
        handle = await live.submit("model.pt", "model", **values)
        with pytest.raises(PushError, match="the test refuses") as caught:
            await handle
        assert [failed.path for failed in caught.value.failed]
        with pytest.raises(PushError):
            await handle.pushed()
        assert live.statistics().failed == live.statistics().push_failed == 1
    after = look(repo, objects=False)
    before.pop("git status"), after.pop("git status")
    assert {name: text for name, text in after.items() if name in before} == before
    assert not (repo / "model.pt.dvc").exists()
    assert leftovers(repo.parent) == []


async def test_before_commit_objects_that_gc_removes_are_stored_and_pushed(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, found = DvcRepository.unit_of_staged, []

    def collected_once(self: DvcRepository, *args: Any) -> Any:
        found.append(real(self, *args))
        if len(found) == 1:  # as `dvc gc` does: nothing refers to these objects
            for path in (repo / ".dvc" / "cache" / "files" / "md5").glob("[0-9a-f][0-9a-f]/*"):
                path.unlink()
        return found[-1]

    monkeypatch.setattr(DvcRepository, "unit_of_staged", collected_once)
    async with AsyncLive(root=repo, push=BEFORE) as live:
        logged = await live.log_artifact("data")
    assert len(found) == 2
    assert set(remote.objects) == {md5("a"), md5("other"), logged.md5}
    assert "in sync" in dvc(repo, "status", "-c")
    assert_nothing_lost(repo)


@in_both_orders
async def test_a_file_inside_a_tracked_directory_pushes_the_whole_directory(
    repo: Path, remote: DirectoryRemote, policy: PushPolicy
) -> None:
    dvc(repo, "add", "data")
    write(repo, {"data/new": "new", "data/b/newer": "newer"})
    async with AsyncLive(root=repo, push=policy) as live:
        handles = [await live.submit("data/new"), await live.submit("data/b/newer")]
        for handle in handles:
            await handle.pushed()
    assert {md5(text) for text in ("a", "other", "new", "newer")} < set(remote.objects)
    assert "in sync" in dvc(repo, "status", "-c")


@in_both_orders
async def test_without_cache_and_where_dvc_pushes_nothing_no_object_is_pushed(
    repo: Path, remote: DirectoryRemote, policy: PushPolicy
) -> None:
    dvc(repo, "add", "data")
    declared = repo / "data.dvc"
    declared.write_text(declared.read_text() + "  push: false\n")
    write(repo, {"data/new": "new"})
    async with AsyncLive(root=repo, push=policy) as live:
        for handle in (
            await live.submit("model.pt", "model", cache=False),
            await live.submit("data"),
        ):
            result = await handle.pushed()
            assert (result.remote, result.objects, result.skipped) == ("store", 0, 0)
            assert result.verified_by == "size"  # no more is claimed than was compared
    assert not remote.objects


@in_both_orders
async def test_an_artifact_goes_to_the_remote_that_its_dvc_file_names(
    repo: Path, remote: DirectoryRemote, policy: PushPolicy
) -> None:
    own = DirectoryRemote(repo, "own", default=False)
    backup = DirectoryRemote(repo, "backup", default=False)
    dvc(repo, "add", "model.pt")
    declared = repo / "model.pt.dvc"
    declared.write_text(declared.read_text() + "  remote: own\n")
    async with AsyncLive(root=repo, push=replace(policy, remote="backup")) as live:
        write(repo, {"model.pt": "newer"})
        handle = await live.submit("model.pt")
        assert (await handle.pushed()).remote == "own"
        await live.log_artifact("data")
    assert set(own.objects) == {md5("newer")}
    assert backup.has_listing()
    assert not remote.objects


async def test_pushed_raises_the_error_of_its_call_and_returns_the_push_of_its_successor(
    repo: Path, remote: DirectoryRemote
) -> None:
    async with AsyncLive(root=repo, push=True) as live:
        handles = [await live.submit("model.pt", latest_wins=True) for _ in range(4)]
        results = [await handle.pushed() for handle in handles]
        assert {result.remote for result in results} == {"store"}
        cancelled = await live.submit("data")
        cancelled.cancel()
        with pytest.raises(AsyncLiveError) as caught:
            await cancelled.pushed()
        assert caught.value is cancelled._call.error


async def test_a_session_without_push_says_how_to_push(repo: Path) -> None:
    write(repo, FILES)
    async with AsyncLive(root=repo) as live:
        handle = await live.submit("model.pt")
        with pytest.raises(PushError, match=r"Pass push=True to AsyncLive, or call live.push\(\)"):
            await handle.pushed()
    assert not (repo / ".dvc" / "tmp" / "asynclive" / "pending").exists()


@pytest.mark.parametrize("push", [True, "backup", PushPolicy(remote="backup")], ids=str)
async def test_entering_without_such_a_remote_says_how_to_add_one(repo: Path, push: Any) -> None:
    with pytest.raises(RemoteNotFoundError, match="dvc remote add"):
        async with AsyncLive(root=repo, push=push):
            raise AssertionError("was entered")
    assert leftovers(repo.parent) == []


async def test_push_takes_paths_names_and_records(repo: Path, remote: DirectoryRemote) -> None:
    backup = DirectoryRemote(repo, "backup", default=False)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", "model", name="mymodel")
        data = await live.log_artifact("data")
        assert (await live.push("mymodel")).objects == 1
        assert (await live.push("mymodel", logged, Path("model.pt"))).skipped == 1
        assert set(remote.objects) == {logged.md5}
        result = await live.push(remote="backup")
        assert (result.remote, result.objects) == ("backup", 4)
        assert set(backup.objects) == {md5("weights"), md5("a"), md5("other"), data.md5}
        assert (await live.push(data, verify="read")).verified_by == "read"
        assert (await live.push(verify=None)).verified_by == "size"


async def test_push_refuses_bad_input_at_once(repo: Path, remote: DirectoryRemote) -> None:
    async with AsyncLive(root=repo) as live:
        with pytest.raises(ArtifactPathError, match="not tracked by DVC"):
            await live.push("model.pt")
        with pytest.raises(ArtifactNotFoundError):
            await live.push("no-such-path")
        with pytest.raises(RemoteNotFoundError, match="dvc remote add"):
            await live.push(remote="no-such-remote")
        with pytest.raises(ValueError, match="verify must be one of"):
            await live.push(verify="all")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="remote must name"):
            await live.push(remote="")
        with pytest.raises(InvalidDataTypeError):
            await live.push(3)  # type: ignore[arg-type]
        unstored = await live.log_artifact("data", "dataset", cache=False)
        with pytest.raises(ArtifactPathError, match="cache=False"):
            await live.push(unstored)
        assert live.statistics().push_failed == 3
    assert not remote.objects


async def test_push_works_while_artifacts_are_in_flight(
    repo: Path, remote: DirectoryRemote
) -> None:
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
        with locked(repo):  # so the next artifact comes as far as its commit
            handle = await live.submit("data")
            assert (await live.push()).objects == 1
            assert set(remote.objects) == {md5("weights")}
        await handle
        assert (await live.push()).objects == 3


@in_both_orders
async def test_pushing_does_not_block_the_event_loop(
    repo: Path, remote: DirectoryRemote, policy: PushPolicy
) -> None:
    async with AsyncLive(root=repo, push=policy) as live:
        with no_blocking() as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(live.log_artifact, "data"))
                await live.log_artifact("model.pt", "model")
            await live.push()
        assert not caught
    assert remote.has_listing()
