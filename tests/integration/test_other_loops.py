"""Use an object in another event loop or thread than its own: an error at once, and no harm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from backends import BACKENDS, Isolation, in_both, on_every_loop
from gate import SECONDS, locked

from asynclive import ArtifactHandle, AsyncLive, AsyncLiveError, BlockingLive, NotActiveError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

Use = Callable[[AsyncLive, ArtifactHandle], Awaitable[Any]]


async def _cancel(handle: ArtifactHandle) -> None:
    handle.cancel()


async def _iterate(live: AsyncLive) -> None:
    async for _ in live.events():
        pytest.fail("got an event")


USES: dict[str, Use] = {
    "log_artifact": lambda live, _: live.log_artifact("other.pt"),
    "submit": lambda live, _: live.submit("other.pt"),
    "drain": lambda live, _: live.drain(None),
    "events": lambda live, _: _iterate(live),
    "leaving": lambda live, _: live.__aexit__(None, None, None),
    "wait": lambda _, handle: handle.wait(),
    "cancel": lambda _, handle: _cancel(handle),
}


def error_elsewhere(backend: str, use: Use, live: AsyncLive, handle: ArtifactHandle) -> Exception:
    """Use the objects in a loop of this thread, and return the error."""

    async def fail() -> Exception:
        with anyio.fail_after(SECONDS), pytest.raises(Exception) as caught:
            await use(live, handle)
        return caught.value

    return anyio.run(fail, backend=backend)


@pytest.mark.anyio
@pytest.mark.parametrize("other", ["asyncio", "trio"])
@on_every_loop
async def test_each_use_in_another_loop_is_an_error_and_the_own_loop_continues(
    repo: Path, other: str
) -> None:
    for name in ("model.pt", "other.pt"):
        (repo / name).write_text(name)
    async with AsyncLive(root=repo) as live:
        with locked(repo):
            handle = await live.submit("model.pt")
            for name, use in USES.items():
                error = await anyio.to_thread.run_sync(error_elsewhere, other, use, live, handle)
                assert isinstance(error, NotActiveError), name
                assert "in the thread 'MainThread'" in str(error)
                assert "AsyncLive.blocking()" in str(error)
            # A plain thread, without a loop.
            with pytest.raises(NotActiveError, match="event loop"):
                await anyio.to_thread.run_sync(handle.cancel)
            stage = await anyio.to_thread.run_sync(lambda: (handle.stage, live.statistics()))
            assert stage == (handle.stage, live.statistics())
        assert (await handle).name == "model"
        await live.log_artifact("other.pt")
    assert live.statistics().logged == 2
    # The artifact has ended, so its outcome is known in every loop.
    assert await anyio.to_thread.run_sync(anyio.run, handle.wait) == await handle


@pytest.mark.anyio
async def test_a_stream_made_before_the_block_belongs_to_the_loop_of_the_block(repo: Path) -> None:
    live = AsyncLive(root=repo)
    events = live.events()

    async def iterate(*_: object) -> None:
        await anext(events)

    async with live:
        error = await anyio.to_thread.run_sync(error_elsewhere, "asyncio", iterate, live, None)
        assert isinstance(error, NotActiveError)
    assert [event async for event in events] == []


@pytest.mark.parametrize("other", ["asyncio", "trio"])
@in_both
def test_each_use_after_the_end_of_the_own_loop_is_an_error(
    repo: Path, other: str, isolation: Isolation
) -> None:
    (repo / "other.pt").write_text("weights")
    live = AsyncLive(root=repo, isolation=isolation)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(live.__aenter__())
    with locked(repo):
        handle = loop.run_until_complete(live.submit("other.pt"))
        for name, use in USES.items():
            error = error_elsewhere(other, use, live, handle)
            assert isinstance(error, NotActiveError), name
    loop.run_until_complete(handle.wait())
    loop.run_until_complete(live.__aexit__(None, None, None))
    loop.close()
    error = error_elsewhere(other, USES["submit"], live, handle)
    assert isinstance(error, NotActiveError)


def test_a_blocking_object_works_in_the_thread_of_another_loop(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")

    async def log(live: BlockingLive) -> int:
        return live.submit("model.pt").result().size

    with AsyncLive.blocking(root=repo) as live:
        for backend, options in BACKENDS.values():
            assert anyio.run(log, live, backend=backend, backend_options=options) == len("weights")


def test_a_blocking_object_is_refused_in_the_thread_of_its_own_loop(repo: Path) -> None:
    (repo / "model.pt").write_text("weights")
    errors: list[AsyncLiveError] = []

    def on_event(_: object) -> None:
        try:
            live.log_artifact("model.pt")
        except AsyncLiveError as error:
            errors.append(error)

    with AsyncLive.blocking(root=repo, on_event=on_event) as live:
        live.log_artifact("model.pt")
        assert {type(error) for error in errors} == {NotActiveError}
        assert threading.current_thread().name not in str(errors[0])
