"""Call before entering, after leaving, and while leaving."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest
from disk import dvc_file, leftovers, look, refused, tree, write
from gate import locked

from asynclive import AsyncLive, AsyncLiveError, LoggedArtifact, NotActiveError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]


async def test_a_call_before_entering_is_an_error(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    live = AsyncLive(root=repo)
    with refused(repo, NotActiveError, match="not been entered") as caught:
        await live.log_artifact("model.pt", type="model", copy=True)
    assert isinstance(caught.value, RuntimeError)
    # The refused call had no effect; entering is still possible.
    async with live:
        await live.log_artifact("model.pt")
    assert (repo / "model.pt.dvc").is_file()


async def test_a_call_after_leaving_is_an_error(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
    with refused(repo, NotActiveError, match="been left"):
        await live.log_artifact("model.pt", type="model", copy=True)


async def test_entering_twice_is_an_error_and_does_not_disturb_the_first(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, NotActiveError, match="entered once"):
            async with live:
                pytest.fail("entered")
        await live.log_artifact("model.pt")
    with refused(repo, NotActiveError, match="entered once"):
        async with live:
            pytest.fail("entered")


def test_a_plain_with_block_is_an_error_that_names_async_with(repo: Path) -> None:
    live = AsyncLive(root=repo)
    with (
        pytest.raises(TypeError, match=r"'async with AsyncLive\(\.\.\.\)'.* AsyncLive\.blocking"),
        live,
    ):
        pytest.fail("entered")


async def test_an_unused_session_leaves_nothing(repo: Path) -> None:
    before = tree(repo)
    async with AsyncLive(root=repo):
        assert len(leftovers(repo)) == 2  # its two directories for temp files
    assert leftovers(repo) == []
    assert tree(repo) == before


class Caller:
    """One call in its own task, and its outcome."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.logged: LoggedArtifact | None = None
        self.error: Exception | None = None

    async def log(self, live: AsyncLive, path: str) -> None:
        self.begun.set()  # does not switch tasks: the call begins first
        try:
            self.logged = await live.log_artifact(path, type="model", copy=True)
        except Exception as error:
            self.error = error


LOGGED = {
    "dvclive/artifacts/model.pt": "weights",
    "dvclive/artifacts/model.pt.dvc": dvc_file("weights", "model.pt"),
    "dvclive/artifacts/.gitignore": "/model.pt\n",
    "dvc.yaml": "artifacts:\n  model:\n    path: dvclive/artifacts/model.pt\n    type: model\n",
}


async def test_leaving_waits_for_calls_in_flight_and_refuses_new_ones(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "late.pt": "late"})
    before = tree(repo)
    first, late = Caller(), Caller()
    leaving = anyio.Event()
    with locked(repo) as gate:

        async def open_when_leaving(live: AsyncLive) -> None:
            await leaving.wait()
            await late.log(live, "late.pt")
            assert first.logged is None
            gate.open()

        async with anyio.create_task_group() as task_group:
            async with AsyncLive(root=repo) as live:
                task_group.start_soon(first.log, live, "model.pt")
                task_group.start_soon(open_when_leaving, live)
                await first.begun.wait()
                leaving.set()  # does not switch tasks: the block is left first
            # The artifact in flight is on disk when the block has been left.
            assert tree(repo) == before | LOGGED
    assert first.logged is not None
    assert isinstance(late.error, NotActiveError)


async def test_leaving_by_an_exception_cancels_calls_and_leaves_nothing(
    repo: Path,
) -> None:
    write(repo, {"model.pt": "weights"})
    caller = Caller()
    before = tree(repo)
    error = ZeroDivisionError("of the block")
    with locked(repo):
        async with anyio.create_task_group() as task_group:

            async def block() -> None:
                async with AsyncLive(root=repo, lock_timeout=None) as live:
                    task_group.start_soon(caller.log, live, "model.pt")
                    await caller.begun.wait()
                    raise error

            with pytest.raises(ZeroDivisionError) as caught:
                await block()
            assert caught.value is error  # not wrapped in a group
            assert tree(repo) == before
            assert leftovers(repo) == []
    assert isinstance(caller.error, NotActiveError)
    assert "model.pt" in str(caller.error)


async def test_artifacts_logged_before_the_exception_stay(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)

    async def block() -> None:
        async with AsyncLive(root=repo) as live:
            await live.log_artifact("model.pt", type="model", copy=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert tree(repo) == before | LOGGED


async def test_an_error_of_a_call_leaves_the_block_as_itself(repo: Path) -> None:
    before = look(repo, objects=True)
    with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
        async with AsyncLive(root=repo) as live:
            await live.log_artifact("missing.pt", type="model")
    after = look(repo, objects=True)
    # Entering makes DVC's cache directory.
    assert {name for name in after if after[name] != before.get(name)} <= {
        ".dvc",
        ".dvc/cache",
        ".dvc/cache/files",
        ".dvc/cache/files/md5",
    }


async def test_an_exception_in_a_task_group_is_raised_as_that_group(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)

    async def block() -> None:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            task_group.start_soon(live.log_artifact, "model.pt")
            task_group.start_soon(live.log_artifact, "missing.pt")

    with locked(repo), pytest.raises(BaseException, match=r"TaskGroup|nursery") as caught:
        await block()
    (error,) = caught.value.exceptions  # type: ignore[attr-defined]
    assert isinstance(error, FileNotFoundError)
    assert tree(repo) == before


async def test_a_call_raises_our_error_after_the_temp_directory_was_removed(
    repo: Path,
) -> None:
    """A user may remove it: DVC documents that .dvc/tmp holds only temp files."""
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        shutil.rmtree(repo / ".dvc/tmp")
        for copy in (False, True):
            with pytest.raises(AsyncLiveError, match=r"\.dvc/tmp") as caught:
                await live.log_artifact("model.pt", type="model", copy=copy)
            assert caught.type is not NotActiveError
            assert tree(repo) == before
