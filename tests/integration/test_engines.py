"""Run the same tests on every engine: worker threads and a worker process.

A new engine is a subclass of ``EngineTests``. ``tests/faults/test_isolation*.py`` tests the
features that only a worker process has: its priority, its log, its death.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from backends import Isolation, each_way_once, on_asyncio, on_every_loop
from cancelling import in_task, settled
from directory_remote import DirectoryRemote
from disk import dvc_file, leftovers, look, md5, objects, tree, write
from gate import locked
from invariants import assert_nothing_lost, entries
from isolated import hold_worker, in_worker, said_by_workers
from twin import Templates, dvc

from asynclive import (
    ArtifactCancelledError,
    ArtifactConflictError,
    ArtifactHandle,
    ArtifactLogged,
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    BackPressureError,
    DvcYamlError,
    Event,
    LockTimeoutError,
    LoggedArtifact,
    NotActiveError,
    Pushed,
    PushError,
    PushStarted,
    RemoteAccessError,
    RemoteNotFoundError,
    RepositoryError,
    RepositoryNotFoundError,
)
from asynclive._isolation.portable_errors import RemoteError
from asynclive._remote.local_remote import LocalRemote

pytestmark = pytest.mark.anyio

CALLS: list[dict[str, Any]] = [
    {"path": "model.pt", "type": "model", "meta": {"epoch": 3, "parts": [1.5, None]}},
    {"path": "data", "name": "data", "labels": ["a", "b"], "copy": True},
    {"path": "sub/plain.txt"},
    {"path": "noted", "desc": "only noted", "cache": False},
]


def make(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "sub/plain.txt": "plain", "noted": "noted"})
    write(repo, {f"data/{number % 3}/{number}": str(number) for number in range(20)})


async def log_all(live: AsyncLive, calls: list[dict[str, Any]]) -> list[LoggedArtifact]:
    """Log all of them at once and return the artifacts in the order of the calls."""
    logged: dict[str, LoggedArtifact] = {}

    async def log(call: dict[str, Any]) -> None:
        logged[call["path"]] = await live.log_artifact(**call)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(log, call)
    return [logged[call["path"]] for call in calls]


async def stage_of(live: AsyncLive, state: str) -> None:
    """Return once the statistics count a call in this state."""
    while not getattr(live.statistics(), state):
        await anyio.lowlevel.checkpoint()


def describe(logged: LoggedArtifact, repo: Path) -> dict[str, Any]:
    fields = ("name", "meta", "labels", "md5", "size", "desc", "nfiles")
    return {field: getattr(logged, field) for field in fields} | {
        "path": logged.path.relative_to(repo)
    }


class EngineTests:
    """Hold an engine to what its session promises to users."""

    isolation: Isolation
    counts_refused: bool
    """Statistics count a call that is refused for back-pressure as failed."""

    def live(self, root: Path, **settings: Any) -> AsyncLive:
        return AsyncLive(root=root, isolation=self.isolation, **settings)

    def hold(self, patch: pytest.MonkeyPatch, go: Path, module: str, name: str) -> None:
        """Hold the engine at a method, ``Class.name``, until the pipe ``go`` is opened."""
        raise NotImplementedError

    def hold_sends(self, patch: pytest.MonkeyPatch) -> None:
        """Let each object that is sent to a directory wait until it is cancelled."""
        raise NotImplementedError

    def assert_raised_by_dvc(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def started_and_ended(
        self, directory: Path, patch: pytest.MonkeyPatch
    ) -> AbstractContextManager[Callable[[], Awaitable[None]]]:
        """Yield a function that returns once the processes that the block started have ended."""
        raise NotImplementedError

    @on_asyncio
    async def test_hundreds_of_calls_at_once_are_all_logged(self, repo: Path) -> None:
        write(repo, {f"{number}.txt": str(number) for number in range(200)})
        calls = [{"path": f"{number}.txt", "type": "dataset"} for number in range(200)]
        async with self.live(repo) as live:
            logged = await log_all(live, calls)
            assert live.statistics().logged == 200
            assert live.statistics().files_staged == 200
            assert sum(size * n for size, n in live.statistics().group_sizes.items()) == 200
        assert [one.path.name for one in logged] == [call["path"] for call in calls]
        assert len(entries(repo)) == 200
        assert_nothing_lost(repo)

    async def test_submitted_calls_for_one_path_are_logged_in_their_order(self, repo: Path) -> None:
        path = repo / "model.pt"
        async with self.live(repo) as live:
            handles = []
            with locked(repo) as gate:
                for number in range(5):
                    path.write_text(str(number))
                    handles.append(await live.submit(path, type="model"))
                gate.open()
            for number, handle in enumerate(handles):
                assert (await handle).md5 == md5(str(number))
        assert dvc_file("4", "model.pt") == (repo / "model.pt.dvc").read_text()
        assert_nothing_lost(repo)

    @on_asyncio
    async def test_submit_moves_refuses_supersedes_and_reports_what_no_task_awaited(
        self, repo: Path
    ) -> None:
        path = repo / "model.pt"
        write(repo, {"moved": "m", "other": "o"})
        live = self.live(repo, max_pending=1)

        async def submit_all() -> None:
            async with live:
                with locked(repo):
                    moved = await live.submit("moved", move=True)
                    assert not (repo / "moved").exists()
                    with pytest.raises(BackPressureError):
                        await live.submit("other", wait=False)
                best = []
                for number in range(3):
                    path.write_text(str(number))
                    best.append(await live.submit(path, type="model", latest_wins=True))
                assert (await best[2]).md5 == md5("2")
                assert (await moved).md5 == md5("m")
                spoilt = await submit_to_fail()
                result = await live.drain(None)
                assert result.not_logged == ()
                assert spoilt.done

        async def submit_to_fail() -> ArtifactHandle:
            (repo / "dvc.yaml").write_text("artifacts: [")
            handle = await live.submit("other", desc="it will fail")
            while not handle.done:
                await anyio.lowlevel.checkpoint()
            return handle

        with pytest.raises(Exception, match="no task awaited") as caught:
            await submit_all()
        errors = caught.value.exceptions  # type: ignore[attr-defined]  # of an ExceptionGroup
        assert [type(error) for error in errors] == [DvcYamlError]
        now = live.statistics()
        assert (now.logged + now.superseded, now.failed) == (4, 1 + self.counts_refused)

    async def test_a_handle_can_be_cancelled_until_its_group_begins(self, repo: Path) -> None:
        make(repo)
        async with self.live(repo) as live:
            with locked(repo):
                handle = await live.submit("model.pt", type="model", copy=True)
                other = await live.submit("sub/plain.txt")
                assert not handle.done
                handle.cancel()
                with pytest.raises(ArtifactCancelledError) as caught:
                    await handle
            assert (handle.stage, caught.value.path) == ("cancelled", "model.pt")
            assert (await other).size == 5
            assert live.statistics().cancelled == 1
        assert not (repo / "dvclive").exists()
        assert_nothing_lost(repo)

    # --- Errors -------------------------------------------------------------------------------

    async def test_an_error_reaches_its_own_caller_alone(self, repo: Path) -> None:
        make(repo)
        async with self.live(repo, lock_timeout=0) as live:
            with pytest.raises(ArtifactNotFoundError) as missing:
                await live.log_artifact("missing", type="model")
            assert missing.value.path == str(repo / "missing")
            assert isinstance(missing.value.__cause__, FileNotFoundError)
            with locked(repo):
                with pytest.raises(LockTimeoutError) as timeout:
                    await live.log_artifact("model.pt", type="model")
                assert timeout.value.lock_timeout == 0
            (repo / "dvc.yaml").write_text("artifacts: [")
            with pytest.raises(DvcYamlError) as spoilt:
                await live.log_artifact("model.pt", type="model")
            assert spoilt.value.path == str(repo / "dvc.yaml")
            assert spoilt.value.__cause__ is not None
            (repo / "dvc.yaml").unlink()
            await live.log_artifact("model.pt", type="model")
            assert (live.statistics().failed, live.statistics().logged) == (3, 1)
        assert_nothing_lost(repo)

    @on_asyncio
    async def test_two_calls_for_one_path_are_in_conflict(self, repo: Path) -> None:
        make(repo)
        async with self.live(repo) as live:
            with locked(repo) as gate:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(live.log_artifact, "model.pt")
                    await settled()
                    with pytest.raises(ArtifactConflictError) as caught:
                        await live.log_artifact("model.pt")
                    assert caught.value.other == str(repo / "model.pt")
                    gate.open()
        assert_nothing_lost(repo)

    async def test_entering_raises_where_there_is_no_usable_repository(
        self, tmp_path: Path, repo: Path
    ) -> None:
        with pytest.raises(RepositoryNotFoundError) as caught:
            async with self.live(tmp_path):
                pytest.fail("entered, where there is no repository")
        assert caught.value.root == str(tmp_path)
        (repo / ".dvc" / "config").write_text("[core]\n    autostage = perhaps\n")
        with pytest.raises(RepositoryError) as caught:
            async with self.live(repo):
                pytest.fail("entered, where DVC cannot be opened")
        self.assert_raised_by_dvc(caught.value.__cause__)

    # --- Cancellation and leaving -------------------------------------------------------------

    @each_way_once
    async def test_a_call_cancelled_before_its_group_begins_leaves_nothing(
        self, repo: Path, way: str
    ) -> None:
        make(repo)
        async with self.live(repo, lock_timeout=None) as live:
            await live.log_artifact("sub/plain.txt")
            before = look(repo, objects=False)
            with locked(repo):
                async with in_task(way, lambda: live.log_artifact("model.pt", copy=True)) as call:
                    await stage_of(live, "staged")
                    call.cancel()
            assert call.cancelled
            assert live.statistics().cancelled == 1
            after = look(repo, objects=False)
            assert after.keys() == before.keys()
            assert (await live.log_artifact("model.pt", copy=True)).size == 7
        assert_nothing_lost(repo)

    @each_way_once
    async def test_a_call_cancelled_while_its_group_commits_is_logged(
        self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        make(repo)
        go = tmp_path / "go"
        module = "asynclive._dvc.repository.dvc_repository"
        self.hold(monkeypatch, go, module, "DvcRepository.commit")
        async with self.live(repo) as live:
            log = lambda: live.log_artifact("model.pt", type="model", copy=True)  # noqa: E731
            async with in_task(way, log) as call:
                await stage_of(live, "committing")
                call.cancel()
                await settled()
                assert not call.ended
                await anyio.to_thread.run_sync(go.write_bytes, b"")
            assert call.cancelled
            assert live.statistics().logged == 1
            assert (repo / "dvclive/artifacts/model.pt").read_text() == "weights"
            assert (repo / "dvclive/artifacts/model.pt.dvc").is_file()
            assert "model" in entries(repo)
        assert_nothing_lost(repo)

    async def test_an_exception_in_the_block_takes_back_the_calls_in_flight(
        self, repo: Path
    ) -> None:
        make(repo)
        before = tree(repo)
        errors: list[Exception] = []

        async def log(live: AsyncLive) -> None:
            try:
                await live.log_artifact("model.pt", type="model", copy=True)
            except Exception as error:
                errors.append(error)

        async def fail_inside() -> None:
            async with self.live(repo) as live:
                tasks.start_soon(log, live)
                await stage_of(live, "staged")
                raise ZeroDivisionError

        with locked(repo):
            async with anyio.create_task_group() as tasks:
                with pytest.raises(ZeroDivisionError):
                    await fail_inside()
        assert [type(error) for error in errors] == [NotActiveError]
        assert tree(repo) == before
        assert leftovers(repo) == []

    @on_asyncio
    async def test_leaving_the_block_waits_for_the_calls_in_flight(self, repo: Path) -> None:
        make(repo)
        async with self.live(repo) as live:
            handles = [await live.submit(call["path"]) for call in CALLS]
        assert [handle.stage for handle in handles] == ["logged"] * len(CALLS)
        with pytest.raises(NotActiveError):
            await live.log_artifact("model.pt")

    @each_way_once
    async def test_a_block_cancelled_from_outside_leaves_nothing(
        self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        make(repo)
        with self.started_and_ended(tmp_path, monkeypatch) as all_ended, locked(repo):
            entered = anyio.Event()

            async def log() -> None:
                async with self.live(repo) as live, anyio.create_task_group() as tasks:
                    tasks.start_soon(live.log_artifact, "model.pt")
                    await stage_of(live, "staged")
                    entered.set()

            async with in_task(way, log) as call:
                await entered.wait()
                call.cancel()
            assert call.cancelled
            await all_ended()
        assert leftovers(repo) == []
        assert not (repo / "model.pt.dvc").exists()

    # --- Pushes -------------------------------------------------------------------------------

    async def test_pushes_have_their_results_events_and_counts(self, repo: Path) -> None:
        make(repo)
        remote = DirectoryRemote(repo)
        events: list[Event] = []
        async with self.live(repo, push=True, on_event=events.append) as live:
            handle = await live.submit("data")
            pushed = await handle.pushed()
            assert (pushed.remote, pushed.objects, pushed.skipped) == ("store", 21, 0)
            again = await live.push(await handle, verify="read")
            assert (again.objects, again.skipped, again.verified_by) == (0, 21, "read")
            now = live.statistics()
            assert (now.pushed, now.objects_pushed, now.bytes_pushed) == (2, 21, pushed.bytes)
        ends = [
            (type(event), event.push, event.call, event.path)
            for event in events
            if isinstance(event, PushStarted | Pushed)
        ]
        assert ends == [
            *((kind, 1, 1, repo / "data") for kind in (PushStarted, Pushed)),
            *((kind, 2, 0, repo) for kind in (PushStarted, Pushed)),
        ]
        stages = [type(event) for event in events]
        assert stages.index(ArtifactLogged) < stages.index(PushStarted)
        assert len(remote.objects) == 21
        assert_nothing_lost(repo)

    async def test_the_errors_of_pushes_reach_their_callers_alone(self, repo: Path) -> None:
        make(repo)
        with pytest.raises(RemoteNotFoundError, match="dvc remote add") as unknown:
            async with self.live(repo, push="nowhere"):
                pytest.fail("entered, where there is no such remote")
        assert unknown.value.remote == "nowhere"
        DirectoryRemote(repo).path.write_text("no directory")

        async def push_all() -> None:
            async with self.live(repo, push=True) as live:
                handle = await live.submit("model.pt")
                for push in (handle.pushed, live.push):
                    with pytest.raises(RemoteAccessError) as refused:
                        await push()
                    assert refused.value.remote == "store"
                with pytest.raises(ArtifactPathError):
                    await live.push("sub")
                await live.submit("sub/plain.txt")
                assert live.statistics().logged == 1

        with pytest.raises(Exception, match="no task awaited") as caught:
            await push_all()
        errors = caught.value.exceptions  # type: ignore[attr-defined]  # of an ExceptionGroup
        assert [type(error) for error in errors] == [RemoteAccessError]
        assert_nothing_lost(repo)

    @each_way_once
    async def test_a_cancelled_push_ends_alone(
        self, repo: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        make(repo)
        remote = DirectoryRemote(repo)
        self.hold_sends(monkeypatch)
        async with self.live(repo) as live:
            await live.log_artifact("data")
            async with in_task(way, live.push) as call:
                await stage_of(live, "pushing")
                call.cancel()
            assert call.cancelled
            assert live.statistics().push_cancelled == 1
            await live.log_artifact("model.pt")
        assert remote.objects == {}
        assert_nothing_lost(repo)

    async def test_drain_cancels_and_names_the_pushes_that_do_not_end_in_time(
        self, repo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(repo)
        DirectoryRemote(repo)
        self.hold_sends(monkeypatch)
        async with self.live(repo, push=True) as live:
            handle = await live.submit("model.pt")
            await stage_of(live, "pushing")
            result = await live.drain(0)
            assert [(one.path, one.name) for one in result.not_pushed] == [
                (str(repo / "model.pt"), "model")
            ]
        with pytest.raises(PushError, match="the deadline of drain"):
            await handle.pushed()
        assert (await handle).path == repo / "model.pt"
        assert_nothing_lost(repo)


class TestThreadEngine(EngineTests):
    isolation: Isolation = "thread"
    counts_refused = False

    def hold(self, patch: pytest.MonkeyPatch, go: Path, module: str, name: str) -> None:
        os.mkfifo(go)
        owner, _, method = name.partition(".")
        found = getattr(import_module(module), owner)
        real = getattr(found, method)

        def held(*args: Any) -> Any:
            go.open().close()
            return real(*args)

        patch.setattr(found, method, held)

    def hold_sends(self, patch: pytest.MonkeyPatch) -> None:
        async def held(*_: Any) -> None:
            await anyio.sleep_forever()

        patch.setattr(LocalRemote, "send", held)

    def assert_raised_by_dvc(self, error: BaseException | None) -> None:
        assert type(error).__module__.startswith("dvc.")

    @contextmanager
    def started_and_ended(
        self, directory: Path, patch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], Awaitable[None]]]:
        yield anyio.lowlevel.checkpoint


class TestProcessEngine(EngineTests):
    isolation: Isolation = "process"
    counts_refused = True

    def hold(self, patch: pytest.MonkeyPatch, go: Path, module: str, name: str) -> None:
        hold_worker(patch, go, module, *name.split("."))

    def hold_sends(self, patch: pytest.MonkeyPatch) -> None:
        in_worker(
            patch,
            """
import anyio
from asynclive._remote.local_remote import LocalRemote
async def held(*_):
    await anyio.sleep_forever()
LocalRemote.send = held
""",
        )

    def assert_raised_by_dvc(self, error: BaseException | None) -> None:
        # An error of DVC itself would make this process import DVC.
        assert isinstance(error, RemoteError)
        assert "dvc." in str(error)

    @contextmanager
    def started_and_ended(
        self, directory: Path, patch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], Awaitable[None]]]:
        with said_by_workers(directory, patch) as said:

            async def all_ended() -> None:
                assert await said.to_the_end() == "+"

            yield all_ended


@on_every_loop
async def test_both_engines_leave_the_same(templates: Templates, tmp_path: Path) -> None:
    found = {}
    for isolation in ("thread", "process"):
        repo = templates.make("git", tmp_path / isolation)
        make(repo)
        async with AsyncLive(root=repo, isolation=isolation) as live:  # type: ignore[arg-type]
            # The order of the entries is that of the groups.
            logged = [one for call in CALLS for one in await log_all(live, [call])]
            handle = await live.submit("model.pt", copy=True, name="copied")
            logged.append(await handle)
        assert_nothing_lost(repo)
        assert "up to date" in dvc(repo, "status")
        results = [describe(one, repo) for one in logged]
        found[isolation] = tree(repo), objects(repo), results, live.statistics()
        assert (handle.stage, handle.done) == ("logged", True)
    assert found["process"] == found["thread"]
