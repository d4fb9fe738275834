"""The contract between GroupCommitter and a repository: DVC's and the fake of the tests keep it.

Each test runs with both. So the tests that use the fake elsewhere also hold for DVC.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asynclive._artifact.request import make_request
from asynclive._cache.object_store import ObjectStore
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._engine.group_commit import GroupCommitter
from asynclive._errors import ArtifactPathError, LockTimeoutError
from asynclive._stage.stager import Stager
from asynclive._workers.file_workers import FileWorkers

pytestmark = pytest.mark.anyio

T = TypeVar("T")
TIMEOUT = 60  # seconds to wait for a gate; a gate that stays closed fails the test


class Repository(Protocol):
    """The methods of ``DvcRepository`` that a committer calls. They block, in worker threads."""

    def acquire(self) -> bool: ...

    def commit(self, group: Sequence[Any]) -> Sequence[Any]: ...

    def release(self) -> None: ...

    def break_seconds(self) -> float: ...

    def close(self) -> None: ...


class Side(Protocol):
    """A repository that can be opened several times, as several processes do."""

    def open(self) -> Repository: ...

    async def item(self, repository: Any, name: str) -> Any: ...

    async def refused_item(self, repository: Any, name: str) -> Any: ...

    def committed(self) -> set[str]: ...


class FakeSide:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.names: set[str] = set()

    def open(self) -> Repository:
        return FakeRepository(self)

    async def item(self, repository: Any, name: str) -> Any:
        return name

    async def refused_item(self, repository: Any, name: str) -> Any:
        return f"refused {name}"

    def committed(self) -> set[str]:
        return self.names


class FakeRepository:
    def __init__(self, side: FakeSide) -> None:
        self._side = side

    def acquire(self) -> bool:
        return self._side.lock.acquire(blocking=False)

    def release(self) -> None:
        self._side.lock.release()

    def break_seconds(self) -> float:
        return 0.0

    def commit(self, group: Sequence[str]) -> Sequence[Any]:
        assert self._side.lock.locked()
        self._side.names |= {item for item in group if "refused" not in item}
        return [
            ArtifactPathError(item, "is refused.") if "refused" in item else f"{item} done"
            for item in group
        ]

    def close(self) -> None:
        pass


class DvcSide:
    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self) -> Repository:
        return DvcRepository.open(str(self.root))

    async def item(self, repository: DvcRepository, name: str) -> Any:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        request = make_request(
            name, root=str(self.root), real_root=str(self.root), artifacts_dir=str(self.root / "x")
        )
        stager = Stager(ObjectStore(repository.layout), FileWorkers(2))
        return await stager.stage(await stager.sources.plan(request, repository.ignore_filter))

    async def refused_item(self, repository: DvcRepository, name: str) -> Any:
        item = await self.item(repository, f"{name}/part")
        (self.root / name / "dvc.yaml").write_text("stages: {a: {cmd: x, outs: [part]}}\n")
        return item

    def committed(self) -> set[str]:
        return {path.stem for path in self.root.glob("?*.dvc")}


@pytest.fixture(params=["fake", "DVC"])
def side(request: pytest.FixtureRequest, repo: Path) -> Side:
    return FakeSide() if request.param == "fake" else DvcSide(repo.resolve())


class Opened:
    """An open repository. One thread at a time calls it; its commit waits for a gate."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.gate = threading.Event()
        self.gate.set()
        self.inside = anyio.Event()
        self.groups: list[int] = []
        self._limiter = anyio.CapacityLimiter(1)

    async def call(self, func: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(func, limiter=self._limiter)

    async def commit(self, group: Sequence[Any]) -> Sequence[Any]:
        self.groups.append(len(group))
        self.inside.set()

        def commit() -> Sequence[Any]:
            assert self.gate.wait(TIMEOUT)
            return self.repository.commit(group)

        return await self.call(commit)

    def committer(self, lock_timeout: float | None = None) -> GroupCommitter[Any, Any]:
        return GroupCommitter(
            acquire=lambda: self.call(self.repository.acquire),
            commit=self.commit,
            release=lambda: self.call(self.repository.release),
            break_seconds=lambda: self.call(self.repository.break_seconds),
            lock_timeout=lock_timeout,
        )


@contextlib.asynccontextmanager
async def opened(side: Side) -> AsyncIterator[Opened]:
    repository = await anyio.to_thread.run_sync(side.open)
    try:
        yield Opened(repository)
    finally:
        await anyio.to_thread.run_sync(repository.close)


@contextlib.asynccontextmanager
async def running(one: Opened, **values: Any) -> AsyncIterator[GroupCommitter[Any, Any]]:
    committer = one.committer(**values)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(committer.run)
        yield committer
        task_group.cancel_scope.cancel()


async def test_one_session_at_a_time_has_the_lock_and_no_attempt_waits(side: Side) -> None:
    async with opened(side) as one, opened(side) as other:
        assert await one.call(one.repository.acquire) is True
        assert await other.call(other.repository.acquire) is False
        assert await other.call(other.repository.acquire) is False
        await one.call(one.repository.release)
        assert await other.call(other.repository.acquire) is True
        assert await one.call(one.repository.acquire) is False
        await other.call(other.repository.release)


async def test_a_submitted_item_is_committed_and_the_lock_is_released(side: Side) -> None:
    async with opened(side) as one, running(one) as committer:
        assert await committer.submit(await side.item(one.repository, "a"))
        assert side.committed() == {"a"}
        async with opened(side) as other:
            assert await other.call(other.repository.acquire) is True
            await other.call(other.repository.release)


async def test_each_item_of_a_group_has_an_outcome_or_an_error_of_its_own(
    side: Side,
) -> None:
    async with opened(side) as one:
        names = ["a", "b", "refused", "c"]
        group = [
            await (side.refused_item if name == "refused" else side.item)(one.repository, name)
            for name in names
        ]
        assert await one.call(one.repository.acquire)
        outcomes = await one.call(partial(one.repository.commit, group))
        await one.call(one.repository.release)
        failed = [isinstance(outcome, ArtifactPathError) for outcome in outcomes]
        assert failed == [False, False, True, False]
        assert not any(isinstance(outcome, Exception) for outcome in outcomes[:2])
    assert side.committed() == {"a", "b", "c"}


async def test_an_empty_group_is_no_error(side: Side) -> None:
    async with opened(side) as one:
        assert await one.call(one.repository.acquire)
        assert list(await one.call(partial(one.repository.commit, []))) == []
        await one.call(one.repository.release)


async def test_items_that_wait_while_a_group_commits_form_one_group(side: Side) -> None:
    async with opened(side) as one, running(one) as committer:
        items = [await side.item(one.repository, name) for name in "abcde"]
        one.gate.clear()
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(committer.submit, items[0])
            await one.inside.wait()
            for item in items[1:]:
                task_group.start_soon(committer.submit, item)
            await anyio.wait_all_tasks_blocked()
            one.gate.set()
    assert one.groups == [1, 4]
    assert side.committed() == set("abcde")


async def test_an_item_that_is_cancelled_before_its_group_is_not_committed(side: Side) -> None:
    async with opened(side) as one, running(one) as committer:
        first, second = [await side.item(one.repository, name) for name in "ab"]
        one.gate.clear()
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(committer.submit, first)
            await one.inside.wait()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await committer.submit(second)
            one.gate.set()
    assert scope.cancelled_caught
    assert one.groups == [1]
    assert side.committed() == {"a"}


async def test_a_group_in_progress_is_finished_although_its_committer_is_cancelled(
    side: Side,
) -> None:
    async with opened(side) as one:
        item = await side.item(one.repository, "a")
        one.gate.clear()
        async with anyio.create_task_group() as task_group, running(one) as committer:
            task_group.start_soon(committer.submit, item)
            await one.inside.wait()
            one.gate.set()
        assert side.committed() == {"a"}
        async with opened(side) as other:
            assert await other.call(other.repository.acquire) is True
            await other.call(other.repository.release)


async def test_a_committer_waits_for_the_lock_of_another_session_until_its_timeout(
    side: Side,
) -> None:
    async with opened(side) as one, opened(side) as other:
        item, late = [await side.item(one.repository, name) for name in "ab"]
        assert await other.call(other.repository.acquire)
        async with running(one, lock_timeout=0.05) as committer:
            with pytest.raises(LockTimeoutError):
                await committer.submit(item)
        assert side.committed() == set()
        async with running(one) as committer, anyio.create_task_group() as task_group:
            task_group.start_soon(committer.submit, late)
            await anyio.wait_all_tasks_blocked()
            await other.call(other.repository.release)
    assert side.committed() == {"b"}


async def test_only_one_of_two_committers_commits_at_a_time(side: Side) -> None:
    inside = most = 0
    lock = threading.Lock()

    def counted(commit: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def commit_counted(group: Any) -> Any:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            try:
                return commit(group)
            finally:
                with lock:
                    inside -= 1

        return commit_counted

    async with opened(side) as one, opened(side) as other:
        for handle in (one, other):
            handle.repository.commit = counted(handle.repository.commit)  # type: ignore[method-assign]
        items = [await side.item(one.repository, f"item{number}") for number in range(12)]
        async with (
            running(one) as first,
            running(other) as second,
            anyio.create_task_group() as task_group,
        ):
            for number, item in enumerate(items):
                task_group.start_soon((first, second)[number % 2].submit, item)
    assert (inside, most) == (0, 1)
    assert side.committed() == {f"item{number}" for number in range(12)}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_lock_stays_held_while_a_thread_commits_whose_task_has_ended(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some programs end by cancelling every task natively, which goes through shields. The task of
    # the group then goes on to the release while its thread still commits.
    side = DvcSide(repo.resolve())
    inside, gate = threading.Event(), threading.Event()
    commit = DvcRepository._commit

    def commit_at_gate(self: DvcRepository, group: Any) -> Any:
        inside.set()
        assert gate.wait(TIMEOUT)
        return commit(self, group)

    monkeypatch.setattr(DvcRepository, "_commit", commit_at_gate)
    async with opened(side) as one, opened(side) as other:
        item = await side.item(one.repository, "a")
        committer = one.committer()
        tasks = [
            asyncio.ensure_future(committer.run()),
            asyncio.ensure_future(committer.submit(item)),
        ]
        assert await anyio.to_thread.run_sync(inside.wait, TIMEOUT)
        for task in tasks:
            task.cancel()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        is_acquired = await other.call(other.repository.acquire)
        if is_acquired:
            await other.call(other.repository.release)
        gate.set()
        _, submitted = await asyncio.gather(*tasks, return_exceptions=True)
    assert not is_acquired
    # No task is left that could learn the outcome.
    assert "is either tracked or not" in str(submitted)
