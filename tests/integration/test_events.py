"""Receive events through ``on_event`` and ``events()`` while artifacts are logged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from backends import on_asyncio

import asynclive._ingest.copy_and_hash
from asynclive import (
    ArtifactCancelled,
    ArtifactCommitted,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactLogged,
    ArtifactNotFoundError,
    ArtifactStaged,
    ArtifactStaging,
    AsyncLive,
    Event,
    EventStream,
    RepositoryNotFoundError,
)
from asynclive._ingest.batch_processes import BatchProcesses
from asynclive._ingest.small_files import FileStager
from asynclive._stage.stage_job import BATCH_FILES

pytestmark = pytest.mark.anyio

WAY = ["queued", "staging", "staged", "committing", "committed", "logged"]
MIB = 2**20


def stages(events: list[Any], call: int = 1) -> list[str]:
    """Return the stages of one call, its samples as one."""
    return [stage for stage, _ in groupby(event.stage for event in events if event.call == call)]


def samples(events: list[Any]) -> list[ArtifactStaging]:
    return [event for event in events if isinstance(event, ArtifactStaging)]


async def consume(stream: EventStream, got: list[Event]) -> None:
    async for event in stream:
        got.append(event)


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_an_artifact_has_an_event_for_each_stage(
    repo: Path, isolation: Literal["thread", "process"]
) -> None:
    path = repo / "model.pt"
    path.write_bytes(b"weights")
    told: list[Any] = []
    threads: set[int] = set()

    def on_event(event: ArtifactEvent) -> None:
        told.append(event)
        threads.add(threading.get_ident())

    async with AsyncLive(root=repo, on_event=on_event, isolation=isolation) as live:
        logged = await live.log_artifact(path, type="model", name="net")
        before = list(told)
    assert told == before
    assert stages(told) == WAY
    assert threads == {threading.get_ident()}
    assert {(event.call, event.name, event.path) for event in told} == {(1, "net", path)}
    assert [event.time for event in told] == sorted(event.time for event in told)
    (sample,) = samples(told)
    assert (sample.bytes_done, sample.files_done) == (0, 0)
    assert (sample.bytes_total, sample.files_total) == (7, 1)
    (staged,) = (event for event in told if isinstance(event, ArtifactStaged))
    assert (staged.size, staged.nfiles) == (7, 1)
    (committed,) = (event for event in told if isinstance(event, ArtifactCommitted))
    assert committed.md5 == logged.md5
    assert told[-1] == ArtifactLogged(told[-1].time, 1, "net", path, logged)


@on_asyncio
async def test_a_worker_process_reports_the_progress_of_a_large_file(repo: Path) -> None:
    path = repo / "large.bin"
    with path.open("wb") as file:
        file.truncate(384 * MIB)
    told: list[Any] = []
    late: list[Any] = []
    async with (
        anyio.create_task_group() as task_group,
        AsyncLive(root=repo, on_event=told.append, isolation="process") as live,
    ):
        task_group.start_soon(consume, live.events(), late)
        await live.log_artifact(path)
    assert late == told
    assert stages(told) == WAY
    *_, last = samples(told)
    assert 0 < last.bytes_done <= last.bytes_total == 384 * MIB


async def test_any_number_of_streams_end_with_the_block(repo: Path) -> None:
    paths = [repo / f"{number}.bin" for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode())
    got: list[list[Any]] = [[], [], []]
    told: list[Any] = []
    live = AsyncLive(root=repo, on_event=told.append)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(consume, live.events(), got[0])
        async with live:
            task_group.start_soon(consume, live.events(), got[1])
            async with anyio.create_task_group() as calls:
                for path in paths:
                    calls.start_soon(live.log_artifact, path)
            late = live.events()
        task_group.start_soon(consume, late, got[2])
        task_group.start_soon(consume, live.events(), got[2])
    assert got == [told, told, []]
    for call in range(1, 21):
        assert stages(told, call) == WAY


async def test_failure_and_cancellation_are_the_last_event(repo: Path) -> None:
    told: list[Any] = []
    (repo / "large.bin").write_bytes(bytes(3 * MIB))
    async with AsyncLive(root=repo, on_event=told.append) as live:
        with pytest.raises(ArtifactNotFoundError) as caught:
            await live.log_artifact("missing.bin")
        assert stages(told) == ["queued", "failed"]
        assert isinstance(told[-1], ArtifactFailed)
        assert told[-1].error is caught.value

        def cancel(event: ArtifactEvent) -> None:
            if event.stage == "staging":
                scope.cancel()

        live._session.listen(cancel)
        with anyio.CancelScope() as scope:
            await live.log_artifact("large.bin")
        assert stages(told, 2) == ["queued", "staging", "cancelled"]
        assert isinstance(told[-1], ArtifactCancelled)
    assert not (repo / "large.bin.dvc").exists()


async def test_an_artifact_that_is_superseded_has_an_event_for_that(
    repo: Path,
) -> None:
    (repo / "best.pt").write_bytes(b"weights")
    told: list[Any] = []
    live = AsyncLive(root=repo, on_event=told.append)
    async with live, anyio.create_task_group() as task_group:
        for _ in range(3):
            task_group.start_soon(partial(live.log_artifact, "best.pt", latest_wins=True))
    ends = {stages(told, call)[-1] for call in (1, 2, 3)}
    assert ends <= {"logged", "superseded"}
    assert stages(told, 3)[-1] == "logged"
    assert "superseded" in ends


class Held:
    """Hold the worker thread in the middle of a large file until a sample was received."""

    def __init__(self, patch: pytest.MonkeyPatch, at_bytes: int) -> None:
        self.go = threading.Event()
        read: Callable[..., int] = asynclive._ingest.copy_and_hash.read_at

        def held(fd: int, path: str, buffer: memoryview, offset: int) -> int:
            if offset >= at_bytes:
                assert self.go.wait(timeout=60)
            return read(fd, path, buffer, offset)

        patch.setattr(asynclive._ingest.copy_and_hash, "read_at", held)


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("copy", [False, True])
async def test_the_bytes_of_a_large_file_count_while_it_is_hashed(
    copy: bool, submitted: bool, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * MIB + 5
    (repo / "large.bin").write_bytes(bytes(size))
    held = Held(monkeypatch, 2 * MIB)
    # Of a submitted file, the copy counts half.
    reached = size // 2 + MIB if submitted else 2 * MIB
    got: list[ArtifactEvent] = []

    def on_event(event: ArtifactEvent) -> None:
        got.append(event)
        if isinstance(event, ArtifactStaging) and event.bytes_done == reached:
            held.go.set()

    async with AsyncLive(root=repo, on_event=on_event) as live:
        if submitted:
            await (await live.submit("large.bin", copy=copy))
        else:
            await live.log_artifact("large.bin", copy=copy)
    done = [event.bytes_done for event in samples(got)]
    assert done[0] == 0
    assert reached in done
    assert done == sorted(done)
    assert done[-1] <= size
    assert {(event.bytes_total, event.files_total) for event in samples(got)} == {(size, 1)}
    assert stages(got) == WAY


async def test_the_bytes_of_a_submitted_file_count_while_it_is_copied(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "large.bin").write_bytes(bytes(4 * MIB))
    go, step = threading.Event(), asynclive._ingest.copy_and_hash.copy_step
    got: list[ArtifactEvent] = []

    def held(source: int, target: int, offset: int, count: int) -> int:
        if offset == 2 * MIB:
            assert go.wait(timeout=60)
        return step(source, target, offset, count)

    def on_event(event: ArtifactEvent) -> None:
        got.append(event)
        if isinstance(event, ArtifactStaging) and event.bytes_done == MIB:
            go.set()

    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "clone", lambda *_: False)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "copy_step", held)
    async with AsyncLive(root=repo, on_event=on_event) as live:
        await live.submit("large.bin")
    done = [event.bytes_done for event in samples(got)]
    assert MIB in done
    assert done == sorted(done)
    assert all(not event.files_done for event in samples(got) if event.bytes_done < 4 * MIB)


async def test_a_stream_that_starts_later_gets_samples_too(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "large.bin").write_bytes(bytes(4 * MIB))
    held = Held(monkeypatch, 2 * MIB)
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        task_group.start_soon(live.log_artifact, "large.bin")
        await anyio.wait_all_tasks_blocked()
        stream = live.events()
        while True:
            event = await anext(stream)
            if isinstance(event, ArtifactStaging) and event.bytes_done == 2 * MIB:
                break
        held.go.set()


@pytest.mark.parametrize(
    ("files", "owner"),
    [(3 * BATCH_FILES, FileStager), (3100, BatchProcesses)],
    ids=["threads", "processes"],
)
async def test_the_files_of_a_directory_count_by_the_batch(
    files: int, owner: Any, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = repo / "tree"
    tree.mkdir()
    for number in range(files):
        (tree / f"{number}.bin").write_bytes(b"%05d" % number)
    stage_batch: Callable[..., Any] = owner.stage_batch
    first, told = threading.Lock(), threading.Event()
    got: list[Any] = []

    def held(*args: Any) -> Any:
        if not first.acquire(blocking=False):
            assert told.wait(timeout=60)
        return stage_batch(*args)

    def on_event(event: ArtifactEvent) -> None:
        got.append(event)
        if isinstance(event, ArtifactStaging) and event.files_done:
            told.set()

    monkeypatch.setattr(owner, "stage_batch", held)
    async with AsyncLive(root=repo, on_event=on_event) as live:
        await live.log_artifact(tree)
    assert {(event.bytes_total, event.files_total) for event in samples(got)} == {
        (5 * files, files)
    }
    assert all(event.bytes_done == 5 * event.files_done for event in samples(got))
    counts = [event.files_done for event in samples(got)]
    assert counts == sorted(counts)
    assert any(0 < count < files for count in counts)


async def test_an_error_of_the_callback_loses_nothing(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "model.pt").write_bytes(b"weights")

    def fail(event: ArtifactEvent) -> None:
        raise ValueError(event.stage)

    async with AsyncLive(root=repo, on_event=fail) as live:
        logged = await live.log_artifact("model.pt")
    assert logged.dvc_file == repo / "model.pt.dvc"
    assert logged.dvc_file.exists()
    assert [record.levelname for record in caplog.records if record.name.endswith("_hub")] == [
        "ERROR"
    ]


async def test_a_bad_callback_or_bound_is_refused(repo: Path) -> None:
    async def later(event: ArtifactEvent) -> None: ...

    class Later:
        async def __call__(self, event: ArtifactEvent) -> None: ...

    for wrong in (3, "print", later, Later(), partial(later)):
        with pytest.raises(TypeError, match="on_event"):
            AsyncLive(root=repo, on_event=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bound"):
        AsyncLive(root=repo).events(bound=0)


async def test_a_stream_ends_if_the_block_cannot_be_entered(tmp_path: Path) -> None:
    live = AsyncLive(root=tmp_path)
    stream = live.events()
    with pytest.raises(RepositoryNotFoundError):
        async with live:
            pass
    assert [event async for event in stream] == []
