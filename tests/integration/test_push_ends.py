"""Leave the block, drain it or cancel a push while pushes are in flight, or have failed."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio, three_ways
from cancelling import in_task
from directory_remote import DirectoryRemote
from disk import md5, write
from gate import gate_at, locked
from programs import run_program
from settling import settled
from test_push import refuse
from twin import dvc

from asynclive import (
    ArtifactCommitted,
    ArtifactEvent,
    ArtifactHandle,
    AsyncLive,
    PushError,
    PushPolicy,
)
from asynclive._engine.pushing import artifact_pushes
from asynclive._engine.pushing.pending_pushes import PendingPushes
from asynclive._engine.pushing.push_room import PushRoom
from asynclive._remote.directory.object_directory import ObjectDirectory

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]


@pytest.fixture
def remote(repo: Path) -> DirectoryRemote:
    write(repo, {"a.pt": "a", "b.pt": "b"})
    return DirectoryRemote(repo)


async def until_cancelled(live: AsyncLive) -> None:
    """Wait until the cancellation of the only push in flight is on its way to the push thread."""
    (push,) = live._session._pushes.in_flight
    while not push.cancel_requested:
        await anyio.lowlevel.checkpoint()
    await settled()


def pending(repo: Path) -> list[str]:
    directory = repo / ".dvc" / "tmp" / "asynclive" / "pending"
    return os.listdir(directory) if directory.exists() else []


@contextmanager
def raising(kind: type[BaseException]) -> Iterator[list[BaseException]]:
    """Check that the block raises an exception of this type; yields a list that it comes to."""
    caught: list[BaseException] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    assert caught


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@three_ways
async def test_a_cancelled_push_has_ended_when_its_caller_resumes(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("a.pt")
        gate = gate_at(monkeypatch, ObjectDirectory, "publish")
        async with in_task(way, live.push) as call:
            await gate.reached.wait()
            call.cancel()
            await until_cancelled(live)
            assert not call.ended
            gate.open()
        assert call.cancelled
        assert live.statistics().push_cancelled == 1
        assert live.statistics().pushing == 0
        assert (await live.push()).objects + len(remote.objects) >= 1
    assert remote.objects == {md5("a"): b"a"}


@three_ways
async def test_a_cancelled_wait_for_a_push_ends_the_wait_alone(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    async with AsyncLive(root=repo, push=True) as live:
        with gate.opened_after():
            handle = await live.submit("a.pt")
            async with in_task(way, handle.pushed) as call:
                await gate.reached.wait()
                call.cancel()
            assert call.cancelled
            assert not remote.objects
        assert (await handle.pushed()).objects == 1


@three_ways
async def test_a_call_cancelled_while_it_is_pushed_before_its_commit_leaves_nothing(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    async with AsyncLive(root=repo, push=PushPolicy(when="before_commit")) as live:
        async with in_task(way, partial(live.log_artifact, "a.pt", "model")) as call:
            await gate.reached.wait()
            call.cancel()
            await settled()
            gate.open()
        assert call.cancelled
        assert live.statistics().cancelled == live.statistics().push_cancelled == 1
    assert not (repo / "a.pt.dvc").exists()
    assert not (repo / "dvc.yaml").exists()


@in_both
async def test_errors_that_no_task_awaited_are_raised_when_the_block_is_left(
    repo: Path, remote: DirectoryRemote, isolation: Isolation
) -> None:
    write(repo, {"c.pt": "c"})
    # A file where a directory should be.
    write(remote.path, {f"files/md5/{md5('b')[:2]}": "", f"files/md5/{md5('c')[:2]}": ""})
    handles: list[ArtifactHandle] = []
    with raising(ExceptionGroup) as caught:
        async with AsyncLive(root=repo, push=True, isolation=isolation) as live:
            await live.log_artifact("b.pt")
            handles += [await live.submit(name) for name in ("a.pt", "c.pt")]
            with pytest.raises(PushError):
                await handles[1].pushed()
    (group,) = caught
    assert isinstance(group, ExceptionGroup)
    (error,) = group.exceptions
    assert isinstance(error, PushError)
    assert [failed.path for failed in error.failed] == ["b.pt"]
    assert "not pushed, and no task awaited them" in str(group)
    assert [handle.stage for handle in handles] == ["logged", "logged"]
    assert (await handles[0].pushed()).objects == 1
    assert (repo / "b.pt.dvc").exists()


async def test_with_on_error_keep_leaving_raises_no_error_of_a_push(
    repo: Path,
    remote: DirectoryRemote,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as inner:
        refuse(inner)
        async with AsyncLive(root=repo, push=PushPolicy(on_error="keep")) as live:
            await live.log_artifact("a.pt")
    (message,) = warnings(caplog)
    assert "An artifact was committed and not pushed" in message
    assert "the test refuses" in message
    async with AsyncLive(root=repo, push=True) as live:
        pass  # the next session goes on
    assert remote.objects == {md5("a"): b"a"}
    assert not pending(repo)


async def test_a_block_left_by_an_exception_stops_its_pushes_and_names_them(
    repo: Path,
    remote: DirectoryRemote,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as inner:
        gate = gate_at(inner, ObjectDirectory, "publish")
        with raising(KeyError) as caught:
            async with AsyncLive(root=repo, push=True) as live:
                handles = [await live.submit(name) for name in ("a.pt", "b.pt")]
                for handle in handles:
                    await handle
                await gate.reached.wait()
                gate.open()
                raise KeyError("mine")
        statistics = live.statistics()
        assert statistics.logged == 2
        unpushed = statistics.push_cancelled
        assert statistics.pushed + unpushed == 2
    if unpushed:
        (message,) = warnings(caplog)
        assert f"Committed artifacts that were not pushed ({unpushed}): " in message
        assert "'asynclive push' pushes them" in message
        if sys.version_info >= (3, 11):
            assert caught[0].__notes__ == [message]
    assert len(pending(repo)) == unpushed
    async with AsyncLive(root=repo, push=True):
        pass  # the next session goes on
    assert remote.objects == {md5("a"): b"a", md5("b"): b"b"}
    assert not pending(repo)


async def test_a_push_in_flight_is_cancelled_with_its_block(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    errors: list[Exception] = []

    async def push(live: AsyncLive) -> None:
        try:
            await live.push()
        except PushError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        with raising(KeyError):
            async with AsyncLive(root=repo) as live:
                await live.log_artifact("a.pt")
                tasks.start_soon(push, live)
                await gate.reached.wait()
                gate.open()
                raise KeyError("mine")
    assert len(errors) == 1 or live.statistics().pushed == 1


@in_both
async def test_exit_0_waits_for_pushes(
    repo: Path, remote: DirectoryRemote, isolation: Isolation
) -> None:
    with raising(SystemExit):
        async with AsyncLive(root=repo, push=True, isolation=isolation) as live:
            await live.log_artifact("a.pt")
            sys.exit(0)
    assert remote.objects == {md5("a"): b"a"}


async def test_drain_finishes_the_pushes_that_fit_into_its_deadline(
    repo: Path, remote: DirectoryRemote
) -> None:
    async with AsyncLive(root=repo, push=True) as live:
        handle = await live.submit("a.pt")
        result = await live.drain(None)
        assert len(result.logged) == 1
        assert result.not_pushed == ()
        assert (await handle.pushed()).objects == 1


async def test_drain_names_the_pushes_that_it_cancels(
    repo: Path,
    remote: DirectoryRemote,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    async with AsyncLive(root=repo, push=True) as live:
        handle = await live.submit("a.pt")
        await handle
        await gate.reached.wait()
        async with anyio.create_task_group() as tasks:
            results: list[Any] = []

            async def drain() -> None:
                results.append(await live.drain(0))

            tasks.start_soon(drain)
            await until_cancelled(live)
            gate.open()
        (not_pushed,) = results[0].not_pushed
        assert (not_pushed.path, not_pushed.name) == (str(repo / "a.pt"), "a")
        assert "deadline of drain" in str(not_pushed.error)
        with pytest.raises(PushError, match="deadline of drain"):
            await handle.pushed()
    assert warnings(caplog) == []  # the caller has the result
    assert len(pending(repo)) == 1


async def test_push_clears_the_pending_pushes_that_it_has_done(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as inner:
        refuse(inner)
        async with AsyncLive(root=repo, push=PushPolicy(on_error="keep")) as live:
            await live.log_artifact("a.pt")
    assert len(pending(repo)) == 1
    async with AsyncLive(root=repo) as live:
        await live.push()
    assert pending(repo) == []


async def test_a_pending_push_of_an_older_version_or_of_no_remote_is_dropped(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = DirectoryRemote(repo, "gone", default=False)
    with monkeypatch.context() as inner:
        refuse(inner)
        async with AsyncLive(root=repo, push=PushPolicy(on_error="keep")) as live:
            await live.log_artifact("a.pt")
        async with AsyncLive(root=repo, push=PushPolicy(remote="gone", on_error="keep")) as live:
            await live.log_artifact("b.pt")
    assert len(pending(repo)) == 2
    write(repo, {"a.pt": "newer"})
    dvc(repo, "add", "a.pt")
    dvc(repo, "remote", "remove", "gone")
    async with AsyncLive(root=repo, push=True) as live:
        assert live.statistics().pushing in (0, 1, 2)
    assert live.statistics().push_failed == 0
    assert not remote.objects
    assert not gone.objects
    assert pending(repo) == []


@on_asyncio
async def test_an_artifact_is_noted_before_its_call_returns(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_at(monkeypatch, PendingPushes, "add")
    async with AsyncLive(root=repo, push=True) as live:
        with gate.opened_after():
            handle = await live.submit("a.pt")
            await gate.reached.wait()
            assert (repo / "a.pt.dvc").exists()
            assert not handle.done
        await handle


async def test_a_call_that_waits_because_too_many_are_not_pushed_is_logged_if_it_is_cancelled(
    repo: Path, remote: DirectoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_pushes, "PushRoom", partial(PushRoom, 100))
    gate = gate_at(monkeypatch, ObjectDirectory, "publish")
    committed = anyio.Event()

    def on_event(event: ArtifactEvent) -> None:
        if isinstance(event, ArtifactCommitted) and event.name == "b":
            committed.set()

    async with AsyncLive(root=repo, push=True, on_event=on_event) as live:
        with gate.opened_after():
            await (await live.submit("a.pt"))
            await gate.reached.wait()
            waiting = await live.submit("b.pt")
            await committed.wait()
            await settled()
            assert waiting.stage == "committing"
            waiting.cancel()
            assert (await waiting).size == 1
        assert (await waiting.pushed()).objects == 1
    assert set(remote.objects) == {md5("a"), md5("b")}


NEVER_LEFT = """
import sys
from asynclive import AsyncLive, BlockingLive

BlockingLive(AsyncLive(push=True), backend=sys.argv[1]).__enter__().submit("a.pt")
print("submitted", flush=True)
"""


@on_asyncio
@in_both
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_block_that_is_never_left_waits_for_its_pushes(
    repo: Path, remote: DirectoryRemote, backend: str, isolation: Isolation
) -> None:
    with locked(repo) as gate, run_program(repo, NEVER_LEFT, backend, isolation=isolation) as run:
        assert run.stdout is not None
        assert await anyio.to_thread.run_sync(run.stdout.readline) == "submitted\n"
        gate.open()
        await anyio.to_thread.run_sync(run.communicate)
    assert run.returncode == 0
    assert remote.objects == {md5("a"): b"a"}


INTERRUPTED = """
import sys
import anyio
from asynclive import AsyncLive
from asynclive._remote.local_remote import LocalRemote

async def never(self, *args):
    print("sending", flush=True)
    await anyio.sleep_forever()

LocalRemote.send = never

async def main():
    async with AsyncLive(push=True) as live:
        handle = await live.submit("a.pt")
        if sys.argv[2] == "awaited":
            await handle.pushed()

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process there")
@on_asyncio
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", ["awaited", "leaving"])
async def test_ctrl_c_ends_a_program_that_is_sending(
    repo: Path, remote: DirectoryRemote, backend: str, where: str
) -> None:
    with run_program(repo, INTERRUPTED, backend, where) as run:
        assert run.stdout is not None
        assert await anyio.to_thread.run_sync(run.stdout.readline) == "sending\n"
        run.send_signal(signal.SIGINT)
        _, stderr = await anyio.to_thread.run_sync(run.communicate)
    assert "KeyboardInterrupt" in stderr
    assert f"not pushed (1): '{repo / 'a.pt'}'" in stderr
    assert run.returncode != 0
    assert len(pending(repo)) == 1
