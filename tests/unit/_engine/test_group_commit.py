"""GroupCommitter, with a repository that obeys the test and lets one group in at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from cancelling import Call, in_task, on_every_loop, settled, three_ways

from asynclive._engine import group_commit
from asynclive._engine.group_commit import (
    FIRST_DELAY,
    LONGEST_DELAY,
    MAX_GROUP,
    GroupCommitter,
)
from asynclive._errors import LockTimeoutError

pytestmark = pytest.mark.anyio


class Repository:
    """A lock and a commit, with a gate in each. Fails if two groups are ever inside."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.errors: dict[Any, Exception] = {}
        self.errors_once: dict[Any, Exception] = {}
        self.attempts = 0
        self.locked = False
        self.locked_elsewhere = False
        self.breaks: list[float] = []
        self.acquire_gate = anyio.Event()
        self.commit_gate = anyio.Event()
        self.acquire_gate.set()
        self.commit_gate.set()

    async def acquire(self) -> bool:
        assert not self.locked
        self.attempts += 1
        # A thread goes on although its caller was cancelled. The result is then lost.
        with anyio.CancelScope(shield=True):
            await self.acquire_gate.wait()
            await anyio.lowlevel.checkpoint()
            self.locked = not self.locked_elsewhere
        await anyio.lowlevel.checkpoint()
        return self.locked

    async def break_seconds(self) -> float:
        await anyio.lowlevel.checkpoint()
        return self.breaks.pop() if self.breaks else 0.0

    async def commit(self, group: Sequence[Any]) -> list[Any]:
        assert self.locked
        self.groups.append(list(group))
        count = len(self.groups)
        await self.commit_gate.wait()
        await anyio.lowlevel.checkpoint()
        assert len(self.groups) == count, "another group began in between"
        errors = {**self.errors, **self.errors_once}
        self.errors_once = {item: errors[item] for item in self.errors_once if item not in group}
        return [errors.get(item, f"{item} done") for item in group]

    async def release(self) -> None:
        assert self.locked
        await anyio.lowlevel.checkpoint()
        self.locked = False


@pytest.fixture
async def repository() -> Repository:
    # Async, because anyio 4.5 cannot set an event that was made outside of the event loop.
    return Repository()


def make_committer(
    repository: Repository, lock_timeout: float | None = None
) -> GroupCommitter[Any, Any]:
    return GroupCommitter(
        acquire=repository.acquire,
        commit=repository.commit,
        release=repository.release,
        break_seconds=repository.break_seconds,
        lock_timeout=lock_timeout,
    )


@asynccontextmanager
async def running(
    repository: Repository, lock_timeout: float | None = None
) -> AsyncIterator[GroupCommitter[Any, Any]]:
    committer = make_committer(repository, lock_timeout)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(committer.run)
        yield committer
        task_group.cancel_scope.cancel()
    assert not repository.locked


def sorted_groups(repository: Repository) -> list[list[Any]]:
    """Return the groups, each sorted: trio starts tasks in any order."""
    return [sorted(group) for group in repository.groups]


@asynccontextmanager
async def submitted(
    committer: GroupCommitter[Any, Any], *items: Any, way: str = "scope"
) -> AsyncIterator[list[Call]]:
    """Submit each item in a task of its own."""
    calls = [Call(way, partial(committer.submit, item)) for item in items]
    async with anyio.create_task_group() as task_group:
        for call in calls:
            task_group.start_soon(call.run)
        await settled()
        yield calls


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(group_commit.anyio, "sleep", clock.sleep)
    monkeypatch.setattr(group_commit.anyio, "current_time", lambda: clock.now)
    yield clock
    assert clock.sleeping == 0


class Clock:
    """Time that passes only in ``sleep``: at once, or, if ``by_hand``, with ``wake``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.sleeping = 0
        self.before_sleep: Callable[[float], object] = lambda delay: None
        self.by_hand = False
        self._woken = anyio.Event()

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.before_sleep(delay)
        self.sleeping += 1
        try:
            if self.by_hand:
                await self._woken.wait()
            else:
                await anyio.lowlevel.checkpoint()
        finally:
            self.sleeping -= 1
        self.now += delay

    async def wake(self) -> None:
        woken, self._woken = self._woken, anyio.Event()
        woken.set()
        await settled()


# --- Groups ---------------------------------------------------------------------------------


@on_every_loop
async def test_an_item_is_committed_and_its_result_comes_back(repository: Repository) -> None:
    async with running(repository) as committer:
        assert await committer.submit("a") == "a done"
        assert await committer.submit("b") == "b done"
    assert repository.groups == [["a"], ["b"]]


@on_every_loop
async def test_items_submitted_while_a_group_commits_are_the_next_group(
    repository: Repository,
) -> None:
    repository.commit_gate = anyio.Event()
    async with running(repository) as committer, submitted(committer, "a") as first:
        async with submitted(committer, "b", "c", "d") as rest:
            assert repository.groups == [["a"]]
            assert not any(call.ended for call in first + rest)
            repository.commit_gate.set()
        assert [call.result for call in rest] == ["b done", "c done", "d done"]
    assert sorted_groups(repository) == [["a"], ["b", "c", "d"]]


@on_every_loop
async def test_a_group_is_bounded_and_the_other_items_follow(repository: Repository) -> None:
    repository.acquire_gate = anyio.Event()
    items = list(range(2 * MAX_GROUP + 88))
    async with running(repository) as committer, submitted(committer, *items) as calls:
        repository.acquire_gate.set()
    assert [len(group) for group in repository.groups] == [MAX_GROUP, MAX_GROUP, 88]
    assert sorted(item for group in repository.groups for item in group) == items
    assert [call.result for call in calls] == [f"{item} done" for item in items]


@on_every_loop
async def test_items_are_committed_in_the_order_of_their_arrival(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP", 2)
    repository.acquire_gate = anyio.Event()
    async with running(repository) as committer, AsyncExitStack() as stack:
        for item in "abcde":
            await stack.enter_async_context(submitted(committer, item))
        repository.acquire_gate.set()
    assert repository.groups == [["a", "b"], ["c", "d"], ["e"]]


@on_every_loop
async def test_the_error_of_an_item_is_raised_to_its_caller_alone(repository: Repository) -> None:
    repository.acquire_gate = anyio.Event()
    repository.errors["b"] = error = KeyError("b")
    async with running(repository) as committer, submitted(committer, "a", "b", "c") as calls:
        repository.acquire_gate.set()
    assert [call.error for call in calls] == [None, error, None]
    assert [call.result for call in calls] == ["a done", None, "c done"]


@on_every_loop
async def test_a_commit_that_fails_fails_its_group_and_not_the_next(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.acquire_gate = anyio.Event()
    commit = repository.commit

    async def fail_the_first(group: Sequence[Any]) -> list[Any]:
        outcomes = await commit(group)
        if len(repository.groups) == 1:
            raise ZeroDivisionError
        return outcomes

    monkeypatch.setattr(repository, "commit", fail_the_first)
    async with running(repository) as committer:
        async with submitted(committer, "a", "b") as calls:
            repository.acquire_gate.set()
        assert [type(call.error) for call in calls] == [ZeroDivisionError] * 2
        assert await committer.submit("c") == "c done"


@on_every_loop
async def test_the_lock_is_free_when_a_caller_resumes(repository: Repository) -> None:
    repository.acquire_gate = anyio.Event()
    repository.errors["b"] = KeyError("b")
    locked_at_resume = []

    async def submit(item: str) -> None:
        try:
            await committer.submit(item)
        except KeyError:
            pass
        locked_at_resume.append(repository.locked)

    async with running(repository) as committer, anyio.create_task_group() as task_group:
        for item in "abc":
            task_group.start_soon(submit, item)
        await settled()
        repository.acquire_gate.set()
    assert locked_at_resume == [False] * 3


@on_every_loop
async def test_one_group_commits_at_a_time_however_many_tasks_submit(
    repository: Repository,
) -> None:
    # ``Repository.commit`` and ``acquire`` assert it.
    async def submit_often(name: int) -> None:
        for number in range(10):
            item = (name, number)
            if number % 3:
                assert await committer.submit(item) == f"{item} done"
            else:
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await committer.submit(item)

    async with running(repository) as committer, anyio.create_task_group() as task_group:
        for name in range(20):
            task_group.start_soon(submit_often, name)
    committed = [item for group in repository.groups for item in group]
    assert len(committed) == len(set(committed))
    assert {item for item in committed if item[1] % 3} == {
        (name, number) for name in range(20) for number in range(10) if number % 3
    }


# --- Cancelled calls ------------------------------------------------------------------------


@three_ways
async def test_an_item_that_is_cancelled_before_its_group_is_withdrawn(
    repository: Repository, way: str
) -> None:
    repository.commit_gate = anyio.Event()
    async with (
        running(repository) as committer,
        submitted(committer, "a"),
        submitted(committer, "b", "c", "d", way=way) as calls,
    ):
        calls[1].cancel()
        await settled()
        assert calls[1].cancelled
        assert not calls[0].ended
        repository.commit_gate.set()
    assert sorted_groups(repository) == [["a"], ["b", "d"]]


@three_ways
async def test_an_item_that_is_cancelled_while_the_lock_is_taken_is_withdrawn(
    repository: Repository, way: str
) -> None:
    repository.acquire_gate = anyio.Event()
    async with running(repository) as committer:
        async with submitted(committer, "a", way=way) as (call,):
            call.cancel()
            await settled()
            assert call.cancelled
            repository.acquire_gate.set()
        # No item waits for the lock any more: it was released, and nothing was committed.
        await settled()
        assert not repository.locked
        assert repository.groups == []
        assert await committer.submit("b") == "b done"


@three_ways
async def test_an_item_that_is_cancelled_while_it_is_committed_keeps_its_result(
    repository: Repository, way: str
) -> None:
    repository.commit_gate = anyio.Event()
    async with running(repository) as committer:
        async with submitted(committer, "a", way=way) as (call,), submitted(committer, "b"):
            call.cancel()
            await settled()
            assert not call.ended
            repository.commit_gate.set()
        assert call.result == "a done"
    assert repository.groups == [["a"], ["b"]]


@three_ways
async def test_an_item_that_is_cancelled_while_it_is_committed_keeps_its_error(
    repository: Repository, way: str
) -> None:
    repository.commit_gate = anyio.Event()
    repository.errors["a"] = KeyError("a")
    async with running(repository) as committer:
        async with submitted(committer, "a", way=way) as (call,):
            call.cancel()
            await settled()
            repository.commit_gate.set()
        assert isinstance(call.error, KeyError)


# --- The lock -------------------------------------------------------------------------------


@on_every_loop
async def test_a_lock_of_another_process_is_tried_until_it_is_free(
    repository: Repository, clock: Clock
) -> None:
    repository.locked_elsewhere = True

    def free_at_the_end(delay: float) -> None:
        repository.locked_elsewhere = len(clock.slept) < 20

    clock.before_sleep = free_at_the_end
    async with running(repository) as committer:
        assert await committer.submit("a") == "a done"
    assert repository.attempts == 21
    # Soon at first, then less often, and never in step with another waiting process.
    assert clock.slept[0] <= 1.5 * FIRST_DELAY
    assert clock.slept[-1] >= 0.5 * LONGEST_DELAY
    assert max(clock.slept) <= 1.5 * LONGEST_DELAY
    assert len(set(clock.slept)) == 20


@on_every_loop
@pytest.mark.parametrize("lock_timeout", [0, 0.5, 60])
async def test_a_lock_that_stays_held_raises_after_lock_timeout(
    repository: Repository, clock: Clock, lock_timeout: float
) -> None:
    repository.locked_elsewhere = True
    start = clock.now
    async with running(repository, lock_timeout) as committer:
        with pytest.raises(LockTimeoutError) as caught:
            await committer.submit("a")
        assert caught.value.lock_timeout == lock_timeout
        assert lock_timeout <= clock.now - start <= lock_timeout + 3 * LONGEST_DELAY
        repository.locked_elsewhere = False
        assert await committer.submit("b") == "b done"
    assert repository.groups == [["b"]]


@on_every_loop
async def test_without_a_timeout_the_wait_for_the_lock_has_no_end(
    repository: Repository, clock: Clock
) -> None:
    repository.locked_elsewhere = True

    def free_at_the_end(delay: float) -> None:
        clock.now += 1e6
        repository.locked_elsewhere = len(clock.slept) < 5

    clock.before_sleep = free_at_the_end
    async with running(repository, None) as committer:
        assert await committer.submit("a") == "a done"


@on_every_loop
async def test_each_item_has_its_own_timeout_from_the_first_attempt_on(
    repository: Repository, clock: Clock
) -> None:
    repository.locked_elsewhere = True
    failed_at: dict[str, float] = {}
    start = clock.now

    async def submit(item: str) -> None:
        with pytest.raises(LockTimeoutError):
            await committer.submit(item)
        failed_at[item] = clock.now - start

    def arrive(delay: float) -> None:
        if len(clock.slept) == 10:
            task_group.start_soon(submit, "b")

    clock.before_sleep = arrive
    async with anyio.create_task_group() as task_group, running(repository, 5) as committer:
        await submit("a")
        assert "b" not in failed_at
        while "b" not in failed_at:
            await anyio.lowlevel.checkpoint()
    assert 5 <= failed_at["a"] < failed_at["b"]
    assert failed_at["b"] >= 5 + sum(clock.slept[:10])


@on_every_loop
async def test_items_come_and_go_while_the_lock_is_waited_for(
    repository: Repository, clock: Clock
) -> None:
    repository.locked_elsewhere = clock.by_hand = True
    async with running(repository) as committer, submitted(committer, "a", "b") as (a, b):
        assert clock.sleeping
        b.cancel()
        await settled()
        assert b.cancelled  # withdrawn during the wait for the lock
        async with submitted(committer, "c") as (c,):
            await clock.wake()
            assert not a.ended
            repository.locked_elsewhere = False
            await clock.wake()
    assert (a.result, c.result) == ("a done", "c done")
    assert repository.groups == [["a", "c"]]


@on_every_loop
async def test_the_lock_is_not_tried_when_no_item_waits_any_more(
    repository: Repository, clock: Clock
) -> None:
    repository.locked_elsewhere = clock.by_hand = True
    async with running(repository) as committer, submitted(committer, "a") as (call,):
        call.cancel()
        await settled()
        await clock.wake()
        assert not clock.sleeping
        assert repository.attempts == 1


@on_every_loop
async def test_an_attempt_that_fails_fails_the_waiting_items(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True
    acquire = repository.acquire

    async def acquire_if_not_broken() -> bool:
        if broken:
            raise PermissionError
        return await acquire()

    monkeypatch.setattr(repository, "acquire", acquire_if_not_broken)
    async with running(repository) as committer:
        with pytest.raises(PermissionError):
            await committer.submit("a")
        broken = False
        assert await committer.submit("b") == "b done"


@on_every_loop
async def test_in_a_break_the_lock_is_not_tried_and_no_timeout_runs(
    repository: Repository, clock: Clock
) -> None:
    def check(delay: float) -> None:
        assert not repository.locked
        assert repository.attempts == len(repository.groups)

    clock.before_sleep = check
    async with running(repository, lock_timeout=0.0) as committer:
        for item in ("a", "b"):
            repository.breaks = [0.25, 0.5]
            assert await committer.submit(item) == f"{item} done"
    assert clock.slept == [0.5, 0.25] * 2


# --- The end --------------------------------------------------------------------------------


@three_ways
async def test_run_ends_if_it_is_cancelled_while_no_item_waits(
    repository: Repository, way: str
) -> None:
    async with in_task(way, make_committer(repository).run) as call:
        call.cancel()
    assert call.cancelled
    assert repository.attempts == 0


@on_every_loop
async def test_run_ends_if_it_is_cancelled_while_another_process_holds_the_lock(
    repository: Repository,
) -> None:
    repository.locked_elsewhere = True
    committer = make_committer(repository)
    async with submitted(committer, "a") as (item,):
        async with in_task("scope", committer.run) as call:
            call.cancel()
        assert call.cancelled
        item.cancel()
    assert item.cancelled
    assert repository.groups == []


@on_every_loop
async def test_run_finishes_its_group_and_releases_the_lock_if_it_is_cancelled(
    repository: Repository,
) -> None:
    repository.commit_gate = anyio.Event()
    committer = make_committer(repository)
    async with submitted(committer, "a") as (item,):
        async with in_task("scope", committer.run) as call:
            call.cancel()
            await settled()
            assert not call.ended
            repository.commit_gate.set()
        assert call.cancelled
    assert item.result == "a done"
    assert not repository.locked


@on_every_loop
async def test_run_does_not_keep_the_lock_if_it_is_cancelled_during_the_attempt(
    repository: Repository,
) -> None:
    repository.acquire_gate = anyio.Event()
    committer = make_committer(repository)
    async with submitted(committer, "a") as (item,):
        async with in_task("scope", committer.run) as call:
            call.cancel()
            await settled()
            repository.acquire_gate.set()
        assert call.cancelled
        item.cancel()
    assert repository.attempts == 1
    assert not repository.locked


@on_every_loop
async def test_run_begins_no_other_group_if_it_is_cancelled(repository: Repository) -> None:
    repository.commit_gate = anyio.Event()
    committer = make_committer(repository)
    async with (
        submitted(committer, "a"),
        in_task("scope", committer.run) as call,
        submitted(committer, "b") as (item,),
    ):
        call.cancel()
        await settled()
        repository.commit_gate.set()
        await settled()
        item.cancel()
    assert repository.groups == [["a"]]


@pytest.fixture
def waiters(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All waiters, so that the test can resume those that the committer would not."""
    made: list[Any] = []
    waiter_type = group_commit._Waiter

    def make(*values: Any) -> Any:
        made.append(waiter_type(*values))
        return made[-1]

    monkeypatch.setattr(group_commit, "_Waiter", make)
    return made


@on_every_loop
async def test_a_lock_that_cannot_be_released_is_logged_and_fails_no_item(
    repository: Repository,
    waiters: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = repository.release

    async def fail_the_first_time() -> None:
        await release()
        if len(repository.groups) == 1:
            raise PermissionError

    monkeypatch.setattr(repository, "release", fail_the_first_time)
    async with running(repository) as committer:
        async with submitted(committer, "a") as (item,):
            ended = item.ended
            for waiter in waiters:
                waiter.done.set()
        assert ended
        assert item.result == "a done"
        assert await committer.submit("b") == "b done"
    (record,) = caplog.records
    assert "could not be released" in record.getMessage()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_item_waits_for_ever_when_every_task_of_the_loop_is_cancelled(
    repository: Repository, waiters: list[Any]
) -> None:
    # Some programs end so. A native cancellation pierces the shield of the group.
    repository.commit_gate = anyio.Event()
    committer = make_committer(repository)
    async with (
        submitted(committer, "a", way="task.cancel") as (item,),
        in_task("task.cancel", committer.run) as run,
    ):
        item.cancel()
        run.cancel()
        await settled()
        ended = item.ended
        repository.commit_gate.set()
        for waiter in waiters:
            waiter.done.set()
    assert ended


# --- Another lock ---------------------------------------------------------------------------


@on_every_loop
async def test_an_item_that_needs_another_lock_is_committed_again_before_later_items(
    repository: Repository,
) -> None:
    repository.errors_once["b"] = LockTimeoutError(0)
    repository.commit_gate = anyio.Event()
    began: list[str] = []
    async with running(repository, 60) as committer, anyio.create_task_group() as task_group:
        for item in ("a", "b", "c"):
            task_group.start_soon(committer.submit, item, partial(began.append, item))
            await settled()
        repository.commit_gate.set()
    assert repository.groups == [["a"], ["b", "c"], ["b"]]
    assert began == ["a", "b", "c"]


@on_every_loop
async def test_the_wait_for_another_lock_ends_after_lock_timeout(
    repository: Repository, clock: Clock
) -> None:
    repository.errors["a"] = LockTimeoutError(0)

    async def commit(group: Sequence[Any]) -> list[Any]:
        clock.now += 1
        return await Repository.commit(repository, group)

    repository.commit = commit  # type: ignore[method-assign]
    async with running(repository, 5) as committer:
        with pytest.raises(LockTimeoutError) as caught:
            await committer.submit("a")
    assert caught.value.lock_timeout == 5
    assert len(repository.groups) == 5


@three_ways
async def test_an_item_that_waits_for_another_lock_can_be_withdrawn(
    repository: Repository, clock: Clock, way: str
) -> None:
    repository.errors_once["a"] = LockTimeoutError(0)
    repository.commit_gate = anyio.Event()
    clock.by_hand = True
    async with running(repository) as committer:
        async with submitted(committer, "a", way=way) as (call,):
            repository.locked_elsewhere = True
            repository.commit_gate.set()
            await settled()
            assert repository.groups == [["a"]]
            call.cancel()
        assert call.cancelled
        repository.locked_elsewhere = clock.by_hand = False
        await clock.wake()
        assert await committer.submit("b") == "b done"
    assert repository.groups == [["a"], ["b"]]
