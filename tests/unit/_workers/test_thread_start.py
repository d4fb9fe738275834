"""run_in_thread: where the system refuses another thread, calls wait for each other's."""

from __future__ import annotations

import threading

import anyio
import pytest

from asynclive._errors import ResourceLimitError
from asynclive._workers.thread_start import run_in_any_thread, run_in_thread


def refuse_threads(patch: pytest.MonkeyPatch, after: int) -> None:
    start, left = threading.Thread.start, [None] * after

    def limited(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    patch.setattr(threading.Thread, "start", limited)


# An event loop of its own, on asyncio: trio shares threads with loops of earlier tests.


def test_calls_with_different_limits_share_the_only_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[int]:
        threads: list[int] = []

        async def call() -> None:
            threads.append(await run_in_thread(threading.get_ident, anyio.CapacityLimiter(1)))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(call)
        return threads

    refuse_threads(monkeypatch, after=1)
    threads = anyio.run(main)
    assert (len(threads), len(set(threads))) == (20, 1)


def test_without_any_thread_a_call_raises_or_runs_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> int:
        limiter = anyio.CapacityLimiter(1)
        with pytest.raises(ResourceLimitError):
            await run_in_thread(threading.get_ident, limiter)
        return await run_in_any_thread(threading.get_ident, limiter)

    refuse_threads(monkeypatch, after=0)
    assert anyio.run(main) == threading.get_ident()


def test_an_error_of_the_function_is_its_own() -> None:
    def fail() -> None:
        raise RuntimeError("something else")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="something else"):
            await run_in_thread(fail, anyio.CapacityLimiter(1))

    anyio.run(main)
