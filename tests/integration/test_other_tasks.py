"""Enter the block in one task and leave it in another, as fixtures and exit stacks do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio, on_every_loop
from gate import SECONDS, locked
from programs import run_program

from asynclive import AsyncLive, NotActiveError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]

T = TypeVar("T")


async def in_task(func: Callable[[], Awaitable[T]]) -> T:
    """Call the function in a task of its own, and return its result once the task has ended."""
    results: list[T] = []

    async def run() -> None:
        results.append(await func())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    return results[0]


@pytest.fixture(autouse=True)
def sources(repo: Path) -> None:
    for name in ("model.pt", "other.pt"):
        (repo / name).write_text(name)


@on_every_loop
@in_both
async def test_a_block_entered_in_a_task_that_ended_is_left_in_another(
    repo: Path, isolation: Isolation
) -> None:
    live = AsyncLive(root=repo, isolation=isolation)
    await in_task(live.__aenter__)
    handle = await in_task(lambda: live.submit("model.pt", type="model"))
    assert (await in_task(lambda: live.log_artifact("other.pt"))).name == "other"
    await in_task(lambda: live.__aexit__(None, None, None))
    assert handle.stage == "logged"
    assert (await handle).name == "model"
    with pytest.raises(NotActiveError, match="has been left"):
        await live.__aexit__(None, None, None)


@on_every_loop
async def test_the_task_that_entered_goes_on_after_another_one_left(repo: Path) -> None:
    live = AsyncLive(root=repo)
    left = anyio.Event()

    async def leave() -> None:
        await live.__aexit__(None, None, None)
        left.set()

    async with anyio.create_task_group() as tasks:
        await live.__aenter__()
        handle = await live.submit("model.pt")
        tasks.start_soon(leave)
        await left.wait()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
    assert handle.stage == "logged"


@on_every_loop
async def test_an_exception_in_another_task_leaves_the_block(repo: Path) -> None:
    live = AsyncLive(root=repo, lock_timeout=None)
    await in_task(live.__aenter__)
    error = ZeroDivisionError()
    with locked(repo):
        handle = await live.submit("model.pt")
        await in_task(lambda: live.__aexit__(ZeroDivisionError, error, None))
        assert handle.stage == "cancelled"
        with pytest.raises(NotActiveError, match=r"model\.pt"):
            await handle
    assert not (repo / "model.pt.dvc").exists()


@on_every_loop
async def test_a_cancelled_task_that_leaves_waits_until_nothing_works(repo: Path) -> None:
    live = AsyncLive(root=repo, lock_timeout=None)
    await in_task(live.__aenter__)
    with locked(repo):
        handle = await live.submit("model.pt")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await live.__aexit__(None, None, None)
        assert scope.cancelled_caught
        assert handle.stage == "cancelled"


async def test_an_exit_stack_is_closed_in_another_task(repo: Path) -> None:
    stack = contextlib.AsyncExitStack()
    live = await in_task(lambda: stack.enter_async_context(AsyncLive(root=repo)))
    handle = await live.submit("model.pt")
    await in_task(stack.aclose)
    assert handle.stage == "logged"


async def generate(repo: Path) -> AsyncGenerator[AsyncLive, None]:
    async with AsyncLive(root=repo) as live:
        yield live


async def test_a_generator_goes_on_in_another_task(repo: Path) -> None:
    generator = generate(repo)
    live = await in_task(lambda: anext(generator))
    handle = await live.submit("model.pt")
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    assert handle.stage == "logged"


async def test_a_generator_is_closed_in_another_task(repo: Path) -> None:
    generator = generate(repo)
    live = await in_task(lambda: anext(generator))
    handle = await live.submit("model.pt")
    await in_task(generator.aclose)
    assert handle.stage == "logged"


@on_asyncio
@in_both
async def test_a_native_cancellation_while_entering_leaves_nothing(
    repo: Path, isolation: Isolation
) -> None:
    live = AsyncLive(root=repo, isolation=isolation)
    task = asyncio.ensure_future(live.__aenter__())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotActiveError, match="has been left"):
        await live.log_artifact("model.pt")


CTRL_C_IN_CALLBACK = """
import asyncio, signal, sys
import anyio, trio
from asynclive import ArtifactStaged, AsyncLive

def on_event(event):
    if isinstance(event, ArtifactStaged):
        signal.raise_signal(signal.SIGINT)

async def main():
    async with AsyncLive(on_event=on_event) as live:
        await live.submit("model.pt")
        await anyio.sleep_forever()

try:
    asyncio.run(main()) if sys.argv[1] == "asyncio" else trio.run(main)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@in_both
def test_ctrl_c_that_comes_while_the_session_works_ends_the_block(
    repo: Path, backend: str, isolation: Isolation
) -> None:
    process = run_program(repo, CTRL_C_IN_CALLBACK, backend, isolation=isolation)
    printed, errors = process.communicate(timeout=SECONDS)
    assert (printed, process.returncode) == ("interrupted\n", 0), errors
