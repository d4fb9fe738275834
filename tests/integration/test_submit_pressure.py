"""Bound pending artifacts, supersede them, drain them, and raise un-awaited errors."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from cancelling import settled
from disk import leftovers, md5, objects
from gate import locked

from asynclive import (
    ArtifactCancelledError,
    ArtifactHandle,
    ArtifactNotFoundError,
    AsyncLive,
    BackPressureError,
    DrainResult,
    LockTimeoutError,
    LoggedArtifact,
    NotActiveError,
    StorageError,
)
from asynclive._ingest import copy_and_hash

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # type: ignore[import-not-found]

pytestmark = pytest.mark.anyio

LARGE = 2**21


def save(repo: Path, name: str, text: str, size: int = LARGE) -> str:
    """Write a file of this size and return its hash."""
    data = (text * (size // len(text) + 1)).encode()[:size]
    (repo / name).write_bytes(data)
    return hashlib.md5(data).hexdigest()


# --- Back-pressure --------------------------------------------------------------------------


async def test_a_snapshot_does_not_wait_for_files_that_are_hashed_later(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots for large files hold files that yield until no caller waits."""
    monkeypatch.setattr(copy_and_hash, "STEP_BYTES", 2**18)
    monkeypatch.setattr(copy_and_hash, "STEPS_AT_ONCE", 1)
    size = 2**24
    for number in range(5):
        save(repo, str(number), f"{number} ", size)
    wanted = save(repo, "only copied", "copied ", size)
    with anyio.fail_after(60):
        async with AsyncLive(root=repo, workers=1) as live:
            for number in range(5):
                await live.submit(str(number))
            logged = await (await live.submit("only copied", copy=True, cache=False))
    assert hashlib.md5(logged.path.read_bytes()).hexdigest() == wanted


@pytest.mark.parametrize(
    "bounds", [{"max_pending": 2}, {"max_pending_bytes": 2 * LARGE}], ids=["count", "bytes"]
)
async def test_submit_waits_for_room_or_raises(repo: Path, bounds: dict[str, Any]) -> None:
    wanted = [save(repo, str(number), f"{number} ") for number in range(3)]
    handles: list[ArtifactHandle] = []
    async with AsyncLive(root=repo, **bounds) as live:

        async def submit(name: str) -> None:
            handles.append(await live.submit(name))

        with locked(repo) as gate:
            async with anyio.create_task_group() as task_group:
                await submit("0")
                await submit("1")
                with pytest.raises(BackPressureError, match="'2'"):
                    await live.submit("2", wait=False)
                task_group.start_soon(submit, "2")
                await settled()
                assert len(handles) == 2
                assert live.statistics().waiting == 1
                gate.open()
        assert [(await handle).md5 for handle in handles] == wanted


@pytest.mark.parametrize("name", ["max_pending", "max_pending_bytes"])
def test_a_bound_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not -1"):
        AsyncLive(**{name: -1})  # type: ignore[arg-type]


async def test_an_artifact_that_cannot_fit_is_refused_before_any_copy(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(repo, "a", "a ", 10 * 2**20)
    (repo / "data").mkdir()
    for number in range(3):
        save(repo / "data", str(number), "b ", 4 * 2**20)
    monkeypatch.setattr("asynclive._fs.free_space.free_bytes", lambda directory: 9 * 2**20)
    async with AsyncLive(root=repo) as live:
        for name in ("a", "data"):
            with pytest.raises(StorageError, match="bytes are needed"):
                await live.submit(name)
    assert objects(repo) == {}


# --- The newest wins ------------------------------------------------------------------------


async def test_only_the_newest_pending_version_is_logged(repo: Path) -> None:
    hashes, handles = [], []
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            for step in range(5):
                hashes.append(save(repo, "best.ckpt", f"{step} "))
                handles.append(
                    await live.submit("best.ckpt", "model", meta={"step": step}, latest_wins=True)
                )
            for handle in handles[1:4]:
                await handle._call.wait_until_done()
                assert handle.stage == "superseded"
            # The first version is being logged; the last one comes after it.
            assert handles[0].stage in ("staging", "staged")
            assert handles[4].stage == "staging"
            assert not handles[1].done
            gate.open()
        logged = [await handle for handle in handles]
        assert handles[1].done
    assert [one.md5 for one in logged] == [hashes[0], *[hashes[4]] * 4]
    assert set(objects(repo)) == {hashes[0], hashes[4]}
    statistics = live.statistics()
    assert (statistics.logged, statistics.superseded, statistics.failed) == (2, 3, 0)
    assert leftovers(repo) == []


async def test_all_waiters_get_the_newest_version(repo: Path) -> None:
    logged: list[LoggedArtifact] = []

    async def log(step: int) -> None:
        logged.append(await live.log_artifact("best.ckpt", latest_wins=True))

    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            async with anyio.create_task_group() as task_group:
                first = save(repo, "best.ckpt", "first")
                handle = await live.submit("best.ckpt", latest_wins=True)
                for step in range(1, 4):
                    last = save(repo, "best.ckpt", f"{step} ")
                    task_group.start_soon(log, step)
                    await settled()
                gate.open()
            assert (await handle).md5 == first
    assert [one.md5 for one in logged] == [last] * 3


async def test_a_version_of_another_name_does_not_supersede(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handles = []
            for name in ("one", "two", "three"):
                save(repo, "best.ckpt", name)
                handles.append(await live.submit("best.ckpt", name=name, latest_wins=True))
            gate.open()
            assert len({(await handle).md5 for handle in handles}) == 3
    assert live.statistics().superseded == 0


async def test_all_waiters_get_the_error_of_the_newest_version(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handles = []
            for step in range(3):
                save(repo, "best.ckpt", f"{step} ")
                handles.append(await live.submit("best.ckpt", latest_wins=True))
            handles[2].cancel()
            for handle in handles[1:]:
                with pytest.raises(ArtifactCancelledError):
                    await handle
            gate.open()
            await handles[0]


# --- Draining -------------------------------------------------------------------------------


async def test_drain_logs_artifacts_until_the_deadline_and_names_the_rest(repo: Path) -> None:
    for name in ("a", "b"):
        (repo / name).write_text(name)
    async with AsyncLive(root=repo) as live:
        done = await live.submit("a")
        await done
        with locked(repo):
            late = await live.submit("b", copy=True)
            result = await live.drain(deadline=0)
            assert isinstance(result, DrainResult)
            assert result.logged == ()
            (one,) = result.not_logged
            assert (one.path, one.name) == ("b", "b")
            assert "deadline of drain() has passed" in str(one.error)
            with pytest.raises(ArtifactCancelledError):
                await late
            for call in (live.submit, live.log_artifact):
                with pytest.raises(NotActiveError, match="is being drained"):
                    await call("a")  # type: ignore[operator]
        assert await live.drain(None) == DrainResult((), ())
    assert not (repo / "dvclive").exists()


async def test_drain_without_a_deadline_waits_for_all(repo: Path) -> None:
    for name in ("a", "b"):
        (repo / name).write_text(name)
    async with AsyncLive(root=repo) as live:
        with locked(
            repo
        ) as gate:  # otherwise the first might be logged before the second is submitted
            for name in ("a", "b"):
                await live.submit(name)
            gate.open()
            result = await live.drain(None)
        assert [one.md5 for one in result.logged] == [md5("a"), md5("b")]
        assert result.not_logged == ()


async def test_drain_refuses_an_impossible_deadline(repo: Path) -> None:
    live = AsyncLive(root=repo)
    with pytest.raises(NotActiveError, match="not been entered"):
        await live.drain(1)
    async with live:
        for deadline in (-1, float("nan")):
            with pytest.raises(ValueError, match="deadline must not be negative"):
                await live.drain(deadline)
        (repo / "a").write_text("a")
        await live.log_artifact("a")
    with pytest.raises(NotActiveError, match="has been left"):
        await live.drain(1)
    with pytest.raises(NotActiveError, match="has been left"):
        await live.submit("a")


# --- Un-awaited errors ----------------------------------------------------------------------


async def test_leaving_raises_un_awaited_errors(repo: Path) -> None:
    (repo / "a").write_text("a")
    (repo / "b").write_text("b")
    with locked(repo), pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with AsyncLive(root=repo, lock_timeout=0) as live:
            await live.submit("a")
            heard = await live.submit("b")
            cancelled = await live.submit("b", name="c")
            cancelled.cancel()
            with pytest.raises(LockTimeoutError):
                await heard
            with pytest.raises(ArtifactNotFoundError):
                await live.submit("missing")
    (error,) = caught.value.exceptions
    assert isinstance(error, LockTimeoutError)


async def test_un_awaited_errors_do_not_replace_the_error_of_the_block(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "a").write_text("a")
    with locked(repo), pytest.raises(KeyError) as caught:  # noqa: PT012
        async with AsyncLive(root=repo, lock_timeout=0) as live:
            handle = await live.submit("a")
            await handle._call.wait_until_done()  # the block must not await the handle
            raise KeyError
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "no task awaited" in caplog.text
    if sys.version_info >= (3, 11):
        assert "held DVC's repository lock" in caught.value.__notes__[0]


async def test_leaving_by_an_exception_cancels_submitted_artifacts(repo: Path) -> None:
    save(repo, "a", "a ")
    with locked(repo), pytest.raises(KeyError):  # noqa: PT012
        async with AsyncLive(root=repo) as live:
            handle = await live.submit("a", copy=True)
            raise KeyError
    assert handle.stage == "cancelled"
    with pytest.raises(NotActiveError, match="left by an exception"):
        await handle
    assert not (repo / "dvclive").exists()
    assert leftovers(repo) == []
