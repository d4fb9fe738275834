"""End the block by sys.exit() or an exception: artifacts are finished, or named."""

from __future__ import annotations

import asyncio
import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backends import Isolation, in_both, on_asyncio
from gate import SECONDS, locked
from programs import run_program

from asynclive import AsyncLive, BlockingLive, NotActiveError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@contextmanager
def raising(error: BaseException) -> Iterator[None]:
    """Check that the block raises this error itself."""
    with pytest.raises(type(error)) as caught:
        yield
    assert caught.value is error


def assert_named(
    caplog: pytest.LogCaptureFixture, error: BaseException | None, *paths: str
) -> None:
    """Check that one warning names the paths, and that a note of ``error`` does."""
    (message,) = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert f"not logged ({len(paths)}): {', '.join(map(repr, paths))}." in message
    if sys.version_info >= (3, 11) and error is not None:
        assert error.__notes__ == [message]


@pytest.fixture(autouse=True)
def sources(repo: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (repo / name).write_text(name)


@pytest.mark.anyio
@in_both
async def test_a_block_that_ends_by_exit_0_finishes_its_artifacts(
    repo: Path, isolation: Isolation, caplog: pytest.LogCaptureFixture
) -> None:
    error = SystemExit(0)
    with raising(error):
        async with AsyncLive(root=repo, isolation=isolation) as live:
            handle = await live.submit("a.pt", type="model")
            raise error
    assert handle.stage == "logged"
    assert caplog.records == []


@pytest.mark.anyio
@in_both
@pytest.mark.parametrize("error", [SystemExit(1), KeyError("mine")], ids=repr)
async def test_a_block_that_ends_by_failure_names_its_artifacts(
    repo: Path, isolation: Isolation, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    error = copy.copy(error)  # the notes of one run are not those of the next
    with locked(repo), raising(error):
        async with AsyncLive(root=repo, isolation=isolation) as live:
            handles = [await live.submit(name) for name in ("a.pt", "b.pt")]
            raise error
    assert [handle.stage for handle in handles] == ["cancelled", "cancelled"]
    assert_named(caplog, error, "a.pt", "b.pt")


@pytest.mark.anyio
@on_asyncio
async def test_a_cancelled_block_names_its_artifacts_also_while_it_waits(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    submitted = asyncio.Event()

    async def use() -> None:
        async with AsyncLive(root=repo) as live:
            await live.submit("a.pt")
            submitted.set()

    with locked(repo):
        task = asyncio.ensure_future(use())
        await submitted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert_named(caplog, None, "a.pt")


@pytest.mark.anyio
async def test_artifacts_that_a_handle_or_drain_cancelled_are_not_named(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = KeyError()
    with locked(repo), raising(error):
        async with AsyncLive(root=repo) as live:
            handle = await live.submit("a.pt")
            (await live.submit("b.pt")).cancel()
            await live.drain(0)
            raise error
    assert handle.stage == "cancelled"
    assert caplog.records == []


@pytest.mark.anyio
async def test_an_error_of_an_artifact_replaces_exit_0(repo: Path) -> None:
    (repo / "dvc.yaml").write_text("no: [yaml")
    with pytest.raises(BaseException, match="no task awaited") as caught:  # noqa: PT012
        async with AsyncLive(root=repo) as live:
            await live.submit("a.pt", type="model")
            sys.exit(0)
    assert len(caught.value.exceptions) == 1  # type: ignore[attr-defined]


@pytest.fixture
def blocking(repo: Path, anyio_backend: str) -> BlockingLive:
    return BlockingLive(AsyncLive(root=repo), backend=anyio_backend)


def test_a_blocking_block_that_ends_by_exit_0_finishes_its_artifacts(
    blocking: BlockingLive,
) -> None:
    error = SystemExit(0)
    with raising(error), blocking:
        handle = blocking.submit("a.pt")
        raise error
    assert handle.result(0).name == "a"


def test_a_blocking_block_that_ends_by_failure_names_its_artifacts(
    repo: Path, blocking: BlockingLive, caplog: pytest.LogCaptureFixture
) -> None:
    error = KeyError("mine")
    with locked(repo), raising(error), blocking:
        handle = blocking.submit("a.pt")
        raise error
    with pytest.raises(NotActiveError):
        handle.result()
    assert_named(caplog, error, "a.pt")


PROGRAM = """
import asyncio, sys
from asynclive import AsyncLive

async def main():
    async with AsyncLive() as live:
        await live.submit("a.pt")
        sys.exit(int(sys.argv[1]))

asyncio.run(main())
"""


@pytest.mark.parametrize("code", [0, 3])
@in_both
def test_a_program_that_configures_no_logging_names_dropped_artifacts(
    repo: Path, isolation: Isolation, code: int
) -> None:
    with locked(repo) as gate:
        process = run_program(repo, PROGRAM, str(code), isolation=isolation)
        if code == 0:
            gate.open()
        printed, errors = process.communicate(timeout=SECONDS)
    assert (printed, process.returncode) == ("", code)
    assert (repo / "a.pt.dvc").exists() == (code == 0)
    assert ("Submitted artifacts that were not logged (1): 'a.pt'." in errors) == (code != 0)


EXIT_IN_TASK = """
import asyncio, sys
import anyio
from asynclive import AsyncLive

async def leave():
    sys.exit(0)

async def main():
    async with AsyncLive() as live:
        await live.submit("a.pt")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)

asyncio.run(main())
"""


@in_both
def test_exit_0_in_a_task_of_the_block_names_dropped_artifacts(
    repo: Path, isolation: Isolation
) -> None:
    # asyncio then cancels all tasks, also those that log.
    with locked(repo):
        process = run_program(repo, EXIT_IN_TASK, isolation=isolation)
        printed, errors = process.communicate(timeout=SECONDS)
    assert (printed, process.returncode) == ("", 0)
    assert "'a.pt'" in errors
    assert not (repo / "a.pt.dvc").exists()
