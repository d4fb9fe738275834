"""Pushes in a worker process: it is killed, or its parent is. Logged artifacts stay committed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import pytest
from backends import on_asyncio
from disk import leftovers, write
from invariants import assert_nothing_lost, assert_sound
from isolated import Said, before_worker, in_worker, pid_of
from s3_server import Bucket, add_remote
from session_process import running
from tally import SURVIVED
from test_isolation_killed import DIE
from twin import dvc

from asynclive import AsyncLive, PushError, PushPolicy, PushResult, WorkerDiedError
from asynclive._calls import drain
from asynclive._isolation import worker_watch

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

# Code for a worker: hold each object that it sends for ever, and say ``h`` to `Said`. With a
# marker, only the first worker does so.
HELD_SENDS = """
import asyncio, os
from asynclive._remote.local_remote import LocalRemote
async def held(self, *args):
    os.write(said, b"h")
    await asyncio.get_running_loop().create_future()
if not os.path.isdir({marker!r}):
    os.mkdir({marker!r})
    LocalRemote.send = held
"""


@pytest.fixture
def far(repo: Path) -> Path:
    """Configure a directory as the default remote of the repository."""
    far = repo.with_name("far")
    add_remote(repo, "far", {"url": str(far)})
    return far


def assert_pushed(repo: Path) -> None:
    assert "in sync" in dvc(repo, "status", "-c")


async def test_pushes_of_a_killed_worker_fail_and_a_new_worker_takes_the_next(
    repo: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"one": "1", "two": "2"})
    said = Said(tmp_path / "said")
    in_worker(monkeypatch, said.code + HELD_SENDS.format(marker=str(tmp_path / "held")))
    errors: list[PushError] = []

    async def push(live: AsyncLive) -> None:
        with pytest.raises(PushError) as caught:
            await live.push("one")
        errors.append(caught.value)

    try:
        async with AsyncLive(root=repo, isolation="process", push=True) as live:
            handle = await live.submit("one")
            await handle
            await said.until("h")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(push, live)
                while live.statistics().pushing < 2:
                    await anyio.lowlevel.checkpoint()
                os.kill(pid_of(live), signal.SIGKILL)
                with pytest.raises(PushError) as caught:
                    await handle.pushed()
            errors.append(caught.value)
            for error in errors:
                assert "killed by SIGKILL" in str(error)
                assert "stay committed" in str(error)
                assert isinstance(error.__cause__, WorkerDiedError)
            assert handle.stage == "logged"
            assert (await (await live.submit("two")).pushed()).objects == 1
            assert isinstance(await live.push(), PushResult)
    finally:
        said.close()
    assert_pushed(repo)
    assert_nothing_lost(repo)
    SURVIVED["workers of isolation='process' killed by SIGKILL"] += 1


@on_asyncio
@pytest.mark.parametrize("on_error", ["raise", "keep"])
async def test_leaving_raises_that_the_worker_was_killed_while_the_block_waited_for_pushes(
    repo: Path,
    far: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    on_error: Literal["raise", "keep"],
) -> None:
    write(repo, {"one": "1"})
    said = Said(tmp_path / "said")
    in_worker(monkeypatch, said.code + HELD_SENDS.format(marker=str(tmp_path / "held")))
    policy = PushPolicy(on_error=on_error)

    async def kill(live: AsyncLive) -> None:
        await said.until("h")
        os.kill(pid_of(live), signal.SIGKILL)

    async def log() -> None:
        async with AsyncLive(root=repo, isolation="process", push=policy) as live:
            await live.log_artifact("one")
            tasks.start_soon(kill, live)

    try:
        async with anyio.create_task_group() as tasks:
            if on_error == "raise":
                with pytest.raises(Exception, match="no task awaited") as caught:
                    await log()
                (error,) = caught.value.exceptions  # type: ignore[attr-defined]
                assert isinstance(error, PushError)
            else:
                await log()
                assert "was committed and not pushed" in caplog.text
    finally:
        said.close()
    assert_sound(repo)


@on_asyncio
async def test_drain_and_leaving_end_though_the_worker_is_stopped_while_it_pushes(
    repo: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CANCEL_SECONDS", 0.2)
    monkeypatch.setattr(worker_watch, "HURRY_SECONDS", 3)
    write(repo, {"one": "1"})
    said = Said(tmp_path / "said")
    in_worker(monkeypatch, said.code + HELD_SENDS.format(marker=str(tmp_path / "held")))
    try:
        async with AsyncLive(root=repo, isolation="process", push=True, leave_timeout=None) as live:
            handle = await live.submit("one")
            await said.until("h")
            os.kill(pid_of(live), signal.SIGSTOP)
            (not_pushed,) = (await live.drain(0)).not_pushed
            assert not_pushed.path == str(repo / "one")
        with pytest.raises(PushError, match="did not answer for 3 s, so it was killed"):
            await handle.pushed()
        async with AsyncLive(root=repo, isolation="process", push=True):
            pass
    finally:
        said.close()
    assert_pushed(repo)


@on_asyncio
async def test_a_worker_killed_while_it_pushes_before_the_commit_leaves_nothing_committed(
    repo: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"one": "1"})
    said = Said(tmp_path / "said")
    in_worker(monkeypatch, said.code + HELD_SENDS.format(marker=str(tmp_path / "held")))
    policy = PushPolicy(when="before_commit")
    try:
        async with AsyncLive(root=repo, isolation="process", push=policy) as live:
            handle = await live.submit("one", type="model")
            await said.until("h")
            os.kill(pid_of(live), signal.SIGKILL)
            for outcome in (handle.wait, handle.pushed):
                with pytest.raises(WorkerDiedError, match="'one' was in flight"):
                    await outcome()
            assert not (repo / "one.dvc").exists()
            await live.log_artifact("one", type="model")
    finally:
        said.close()
    assert_pushed(repo)
    assert_nothing_lost(repo)


MOMENTS = [0, 9, 2, 16, 22, 30, 38, 50]


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=[pytest.mark.long] if i > 1 else []) for i, n in enumerate(MOMENTS)],
)
async def test_a_worker_killed_at_a_moment_of_its_pushes_leaves_no_listing_without_its_files(
    repo: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(repo, {f"data/{name}": str(name) for name in range(5)} | {"one": "1"})
    marker = tmp_path / "killed"
    code = DIE.format(
        directory=str(Path(__file__).parent), marker=str(marker), target=("push", number)
    )
    before_worker(monkeypatch, code)
    paths = ["data", "one"]
    async with AsyncLive(root=repo, isolation="process", push=True) as live:
        for path in paths:
            with suppress(WorkerDiedError):
                await live.log_artifact(path)
        with suppress(PushError):
            await live.push()
        assert marker.is_dir()
        assert_listings_complete(far)
        write(repo, {"last": "a push that sends removes the temp files of a killed one"})
        for path in (*paths, "last"):
            await live.log_artifact(path)
        assert isinstance(await live.push(), PushResult)
    assert_listings_complete(far)
    assert_pushed(repo)
    assert_nothing_lost(repo)
    assert leftovers(far) == []


def assert_listings_complete(far: Path) -> None:
    """Check that the remote has every file of each listing that it has."""
    stored = {path.parent.name + path.name for path in far.glob("files/md5/??/*")}
    for name in stored:
        if name.endswith(".dir"):
            listing = json.loads((far / "files/md5" / name[:2] / name[2:]).read_text())
            assert {entry["md5"] for entry in listing} <= stored


async def test_a_block_left_by_an_exception_stops_its_pushes_and_the_next_goes_on(
    repo: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"one": "1"})
    said = Said(tmp_path / "said")
    in_worker(monkeypatch, said.code + HELD_SENDS.format(marker=str(tmp_path / "held")))
    handles = []

    async def fail_inside() -> None:
        async with AsyncLive(root=repo, isolation="process", push=True) as live:
            handles.append(await live.submit("one"))
            await said.until("h")
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            await fail_inside()
        await said.to_the_end()
        with pytest.raises(PushError, match="left by an exception"):
            await handles[0].pushed()
        assert leftovers(repo) == []
        async with AsyncLive(root=repo, isolation="process", push=True):
            pass
    finally:
        said.close()
    assert_pushed(repo)
    assert_nothing_lost(repo)


# Code for a worker: send no bytes, or a byte each tenth of a second for longer than the watch
# waits for progress.
SLOW_SENDS = """
import asyncio
from asynclive._remote.local_remote import LocalRemote
send = LocalRemote.send
async def slow(self, obj, source, on_bytes):
    for _ in range(60):
        await asyncio.sleep(0.1)
        on_bytes({step})
    return await send(self, obj, source, on_bytes)
LocalRemote.send = slow
"""


@on_asyncio
@pytest.mark.parametrize("step", [0, 1])
async def test_leaving_waits_for_a_push_as_long_as_its_bytes_move(
    repo: Path, far: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(worker_watch, "STALL_FACTOR", 1)
    in_worker(monkeypatch, SLOW_SENDS.format(step=step))
    write(repo, {"one": "1"})
    async with AsyncLive(
        root=repo, isolation="process", push=True, leave_timeout=3, lock_timeout=0
    ) as live:
        handle = await live.submit("one")
        await handle
        pushed = asyncio.ensure_future(handle.pushed())
    if step:
        assert (await pushed).objects == 1
        assert_pushed(repo)
    else:
        with pytest.raises(PushError, match="made no progress for 3 s, so it was killed"):
            await pushed
    assert_sound(repo)


# Pushes a file; what sends it is imported in the worker alone.
SCRIPT = """
import sys
import anyio
from asynclive import AsyncLive

async def main():
    async with AsyncLive(isolation="process", push=True) as live:
        print((await (await live.submit("one")).pushed()).objects)
    large = "dvc", "obstore", "aiobotocore", "botocore", "boto3", "s3fs", "fsspec", "aiohttp"
    print([name for name in large if name in sys.modules])

anyio.run(main)
"""


def test_only_the_worker_imports_the_packages_that_send(repo: Path, bucket: Bucket) -> None:
    bucket.add_remote(repo)
    write(repo, {"one": "1"})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=repo, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["1", "[]"]
    assert_pushed(repo)


# Logs a file; its worker holds the push.
PARENT = """
import sys, anyio
from asynclive import AsyncLive
from asynclive._isolation import start_worker

repo, code = sys.argv[1:]
command = start_worker._COMMAND.replace("\\nserve()", f"\\n{code}\\nserve()")
start_worker._COMMAND = command

async def main():
    async with AsyncLive(root=repo, isolation="process", push=True) as live:
        await live.submit("one")

anyio.run(main)
"""


@on_asyncio
async def test_the_worker_ends_while_it_pushes_when_the_parent_is_killed_and_the_next_goes_on(
    repo: Path, far: Path, tmp_path: Path
) -> None:
    write(repo, {"one": "1"})
    said = Said(tmp_path / "said")
    code = said.code + HELD_SENDS.format(marker=str(tmp_path / "held"))
    try:
        with running(PARENT, repo, code) as parent:
            await said.until("h")
            parent.kill()
            await said.to_the_end()
    finally:
        said.close()
    assert leftovers(repo) == []
    assert_nothing_lost(repo)
    async with AsyncLive(root=repo, isolation="process", push=True):
        pass  # it pushes what the earlier session did not
    assert_pushed(repo)
    SURVIVED["parents of isolation='process' killed by SIGKILL"] += 1
