"""Call: its stages, its outcome, and how its work is cancelled."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import get_args

import pytest
from cancelling import in_task
from layouts import request_of

from asynclive import ArtifactCancelledError, LoggedArtifact
from asynclive._calls.call import ENDS, Call, CallOptions, Stage

# Async, because anyio 4.5 cannot set an event that was made outside of the event loop.
pytestmark = pytest.mark.anyio

WAY: list[Stage] = ["queued", "staging", "staged", "committing", "logged"]
"""The stages of an artifact that is logged."""
NEXT = {
    *pairwise(WAY),
    *product(WAY[:-1], ("failed", "cancelled", "superseded")),
}
"""The pairs of stages that may follow each other."""

LATEST_WINS = CallOptions(submitted=True, latest_wins=True)


def make_call(
    path: str = "/a", *, name: str = "n", entry: bool = False, cache: bool = True
) -> Call:
    return Call(request_of(path, name=name, entry=entry, cache=cache), LATEST_WINS)


def call_at(stage: Stage) -> Call:
    """Return a call that has reached the stage on the shortest way."""
    call = make_call()
    way = WAY[: WAY.index(stage) + 1] if stage in WAY else ["queued", stage]
    for step in way[1:]:
        call.advance(step)
    return call


def logged_artifact() -> LoggedArtifact:
    return LoggedArtifact(
        name="n",
        path=Path("/a"),
        type=None,
        desc=None,
        labels=None,
        meta=None,
        md5="0" * 32,
        size=1,
        nfiles=1,
        dvc_file=Path("/a.dvc"),
    )


# --- Stages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("before", get_args(Stage))
async def test_a_stage_is_followed_by_the_stages_of_the_table_alone(before: Stage) -> None:
    for after in get_args(Stage):
        call = call_at(before)
        if (before, after) in NEXT:
            call.advance(after)
            assert call.stage == after
        else:
            with pytest.raises(AssertionError, match=f"{before} -> {after}"):
                call.advance(after)
            assert call.stage == before


async def test_listeners_are_called_in_order_with_the_stage_before() -> None:
    call = make_call()
    heard: list[tuple[str, Stage, Stage]] = []
    for name in ("first", "second"):
        call.add_listener(
            lambda call, before, name=name: heard.append((name, before, call.stage))  # type: ignore[misc]
        )
    call.advance("staging")
    call.advance("failed")
    assert heard == [
        ("first", "queued", "staging"),
        ("second", "queued", "staging"),
        ("first", "staging", "failed"),
        ("second", "staging", "failed"),
    ]


# --- Outcome --------------------------------------------------------------------------------


async def test_the_outcome_of_a_logged_call_is_its_artifact() -> None:
    call, logged = make_call(), logged_artifact()
    call.complete(logged)
    assert call.settle(ValueError()) == "logged"
    call.finish()
    assert (call.outcome(), await call.result(), call.logged) == (logged, logged, logged)


async def test_the_outcome_of_a_failed_call_is_its_error() -> None:
    call, error = make_call(), ValueError("failed")
    call.fail(error)
    assert call.settle(KeyError()) == "failed"
    call.finish()
    assert call.error is error
    with pytest.raises(ValueError, match="failed"):
        call.outcome()
    with pytest.raises(ValueError, match="failed"):
        await call.result()


async def test_the_outcome_of_a_superseded_call_is_that_of_its_last_successor() -> None:
    first, second, third = make_call(), make_call(), make_call()
    first.supersede_by(second)
    second.supersede_by(third)
    for call in (first, second):
        assert call.settle(ValueError()) == "superseded"
        call.finish()
    assert first.last is third
    async with in_task("scope", first.result) as waiter:
        assert not waiter.ended
        third.complete(logged_artifact())
        third.finish()
    assert waiter.result == first.outcome() == third.logged


async def test_a_call_that_is_logged_after_all_has_no_successor() -> None:
    call = make_call()
    call.yield_to(make_call())
    call.complete(logged_artifact())
    assert call.settle(ValueError()) == "logged"
    assert call.successor is None
    assert call.last is call


async def test_a_call_that_fails_after_all_has_no_successor() -> None:
    call = make_call()
    call.yield_to(make_call())
    call.fail(ValueError())
    assert call.settle(KeyError()) == "failed"
    assert call.successor is None


async def test_an_abandoned_call_is_cancelled_with_its_error() -> None:
    call, error = make_call(), ArtifactCancelledError("/a")
    call.abandon(error)
    assert call.settle(ValueError()) == "cancelled"
    assert call.error is error


async def test_a_call_without_an_outcome_is_cancelled_for_the_given_reason() -> None:
    call, error = make_call(), ValueError("the block was left")
    assert call.settle(error) == "cancelled"
    assert call.error is error


async def test_a_call_that_was_cancelled_for_a_reason_ends_with_it() -> None:
    call, reason = make_call(), ArtifactCancelledError("/a")
    call.cancel(reason)
    assert call.settle(ValueError()) == "cancelled"
    assert call.error is call.cancellation is reason


async def test_the_end_resumes_every_waiter_and_drops_the_earlier_calls() -> None:
    call = make_call()
    call.order_after([make_call()])
    async with (
        in_task("scope", call.wait_until_done) as done,
        in_task("scope", call.wait_until_released) as released,
        in_task("scope", call.wait_for_room) as room,
    ):
        assert not any(waiter.ended for waiter in (done, released, room))
        call.complete(logged_artifact())
        call.finish()
    assert done.ended
    assert released.ended
    assert room.ended
    assert call.earlier == ()


async def test_an_outcome_is_awaited_while_a_task_waits_and_once_it_was_delivered() -> None:
    call = make_call()
    assert not call.is_awaited
    async with in_task("scope", call.result) as waiter:
        assert call.is_awaited
        waiter.cancel()
    assert waiter.cancelled
    assert not call.is_awaited
    call.mark_delivered()
    assert call.is_awaited


# --- Cancellation ---------------------------------------------------------------------------


async def test_the_work_is_cancelled_once() -> None:
    call, cancelled = make_call(), []
    call.bind_work(lambda: cancelled.append(1))
    call.cancel_work()
    call.cancel(ArtifactCancelledError("/a"))
    call.yield_to(make_call())
    call.cancel_work()
    assert cancelled == [1]


async def test_the_first_reason_counts() -> None:
    call, first = make_call(), ArtifactCancelledError("/a", "first")
    call.cancel(first)
    call.cancel(ArtifactCancelledError("/a", "second"))
    assert call.cancellation is first


async def test_a_call_that_has_ended_is_not_cancelled() -> None:
    call, cancelled = make_call(), []
    call.bind_work(lambda: cancelled.append(1))
    call.complete(logged_artifact())
    call.finish()
    call.cancel(ArtifactCancelledError("/a"))
    assert (cancelled, call.cancellation) == ([], None)


# --- Latest wins ----------------------------------------------------------------------------


async def test_a_pending_call_yields_to_a_later_one_and_is_superseded() -> None:
    call, later, cancelled = make_call(), make_call(), []
    call.bind_work(lambda: cancelled.append(1))
    call.yield_to(later)
    assert (call.successor, cancelled) == (later, [1])
    assert call.settle(ValueError()) == "superseded"


async def test_a_call_yields_to_one_later_call_alone() -> None:
    call, later = make_call(), make_call()
    call.yield_to(later)
    call.yield_to(make_call())
    assert call.successor is later


@pytest.mark.parametrize(
    "values",
    [{"name": "m"}, {"entry": True}, {"cache": False}],
    ids=lambda values: next(iter(values)),
)
async def test_a_call_does_not_yield_to_one_that_is_not_alike(values: dict[str, object]) -> None:
    call = make_call()
    call.yield_to(make_call(**values))  # type: ignore[arg-type]
    assert call.successor is None


async def test_a_call_without_latest_wins_does_not_yield() -> None:
    call = Call(request_of("/a"), CallOptions(submitted=True))
    call.yield_to(make_call())
    assert call.successor is None


async def test_a_call_does_not_yield_once_its_work_has_begun() -> None:
    call = make_call()
    call.mark_begun()
    call.yield_to(make_call())
    assert call.successor is None


async def test_a_call_that_waits_for_earlier_calls_has_not_begun() -> None:
    call, earlier = make_call(), make_call()
    call.order_after([earlier])
    assert not call.comes_first
    call.mark_begun()
    earlier.complete(logged_artifact())
    earlier.finish()
    assert call.comes_first
    await call.wait_for_earlier()
    assert call.earlier == ()
    call.yield_to(make_call())
    assert call.successor is not None


def test_the_ends_are_the_stages_that_nothing_follows() -> None:
    assert {
        stage for stage in get_args(Stage) if stage not in {before for before, _ in NEXT}
    } == ENDS
