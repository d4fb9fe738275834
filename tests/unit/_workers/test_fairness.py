"""SmallFirst and WaitedForFirst: how long work waits for work that goes first."""

from __future__ import annotations

import contextlib

import anyio
import pytest
from cancelling import settled

from asynclive._workers import fairness
from asynclive._workers.fairness import SmallFirst, WaitedForFirst

pytestmark = pytest.mark.anyio


async def test_a_large_artifact_waits_for_the_small_ones_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fairness, "MAX_YIELD_SECONDS", 3600)
    small_first = SmallFirst()
    happened: list[str] = []

    async def yield_to_small() -> None:
        await small_first.yield_to_small()
        happened.append("large")

    async with anyio.create_task_group() as task_group:
        with small_first.small_running():
            assert small_first.is_small_running()
            task_group.start_soon(yield_to_small)
            await settled()
            happened.append("small")
        assert not small_first.is_small_running()
    assert happened == ["small", "large"]


async def test_a_large_artifact_does_not_wait_for_small_ones_that_start_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fairness, "MAX_YIELD_SECONDS", 3600)
    small_first = SmallFirst()
    with anyio.fail_after(60), contextlib.ExitStack() as later:
        async with anyio.create_task_group() as task_group:
            with small_first.small_running():
                task_group.start_soon(small_first.yield_to_small)
                await settled()
                later.enter_context(small_first.small_running())


@pytest.mark.parametrize("limit", ["MAX_YIELD_SECONDS", "SMALL_FOR_SECONDS"])
async def test_a_large_artifact_waits_neither_for_long_nor_for_a_small_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(fairness, "MAX_YIELD_SECONDS", 3600)
    monkeypatch.setattr(fairness, "SMALL_FOR_SECONDS", 3600)
    monkeypatch.setattr(fairness, limit, 0)
    small_first = SmallFirst()
    with small_first.small_running(), anyio.fail_after(60):
        await small_first.yield_to_small()


async def test_background_work_waits_until_the_last_block_is_left() -> None:
    waited_for_first = WaitedForFirst()
    happened: list[str] = []

    async def yield_to_waited_for() -> None:
        await waited_for_first.yield_to_waited_for()
        happened.append("background")

    async with anyio.create_task_group() as task_group:
        with waited_for_first:
            with waited_for_first:
                task_group.start_soon(yield_to_waited_for)
                await settled()
            await settled()
            happened.append("first")
    assert happened == ["first", "background"]
