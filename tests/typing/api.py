"""Uses of the public face, for type checkers alone: no test runs this file.

``make check`` gives it to mypy and pyright. Each use must pass, each use with an ignore must fail
(mypy reports an ignore that it does not need), and ``assert_type`` holds the types of results.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dvclive import Live
from typing_extensions import assert_type

from asynclive import (
    ArtifactCancelledError,
    ArtifactChangedError,
    ArtifactConflictError,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactHandle,
    ArtifactLogged,
    ArtifactNotFoundError,
    ArtifactPathError,
    ArtifactStaged,
    ArtifactStaging,
    AsyncLive,
    AsyncLiveError,
    AsyncLiveStatistics,
    BackPressureError,
    BlockingHandle,
    BlockingLive,
    DrainResult,
    DvcYamlError,
    Event,
    EventsDropped,
    EventStream,
    FailedObject,
    InvalidMetadataError,
    LockTimeoutError,
    LoggedArtifact,
    NotActiveError,
    NotLogged,
    NotPushed,
    Pushed,
    PushError,
    PushFailed,
    PushPolicy,
    PushProgress,
    PushResult,
    PushStarted,
    RemoteAccessError,
    RemoteNotFoundError,
    RemoteVerifyError,
    StorageError,
    WorkerDiedError,
)

# --- Settings -------------------------------------------------------------------------------


def on_event(event: ArtifactEvent) -> None:
    assert_type(event.stage, str)


def settings(path: os.PathLike[str], isolation: Literal["thread", "process"]) -> None:
    AsyncLive()
    AsyncLive("results", root=path, dvcyaml=path, workers=2, lock_timeout=None, durable=True)
    AsyncLive(path, root="repo", dvcyaml=False, lock_timeout=5, isolation=isolation)
    AsyncLive(dvcyaml=None, max_pending_bytes=2**30, max_pending=100, isolation="thread")
    AsyncLive(on_event=on_event, progress=True)
    AsyncLive(live=Live(), progress=None)
    AsyncLive(save_dvc_exp=True, exp_name="run", exp_message="a run")
    AsyncLive(isolation="fork")  # type: ignore[arg-type]
    AsyncLive(workers="2")  # type: ignore[arg-type]
    AsyncLive(b"results")  # type: ignore[arg-type]
    AsyncLive("results", "repo")  # type: ignore[call-arg]
    AsyncLive(report="html")  # type: ignore[call-arg]


# --- Logging --------------------------------------------------------------------------------


async def log_artifact(path: Path) -> None:
    async with AsyncLive() as live:
        assert_type(live, AsyncLive)
        logged = await live.log_artifact(path)
        assert_type(logged, LoggedArtifact)
        await live.log_artifact("model.pt", "model", "net", "a model", ["a"], {"epoch": 3}, True)
        await live.log_artifact(
            "model.pt",
            type="model",
            name="net",
            desc="a model",
            labels=["resnet"],
            meta={"optimizer": {"lr": 0.1, "betas": [0.9, 0.999]}, "scheduler": None},
            copy="checkpoints",
            cache=False,
            latest_wins=True,
        )
        await live.log_artifact(1)  # type: ignore[arg-type]
        await live.log_artifact("model.pt", labels="resnet")  # type: ignore[arg-type]
        await live.log_artifact("model.pt", copy=path)  # type: ignore[arg-type]
        await live.log_artifact("model.pt", move=True)  # type: ignore[call-arg]
        # For asyncio it is a coroutine like any other.
        assert_type(await asyncio.gather(live.log_artifact("a")), tuple[LoggedArtifact])
        assert_type(await asyncio.wait_for(live.log_artifact("b"), 5), LoggedArtifact)


def logged_artifact(logged: LoggedArtifact) -> None:
    assert_type(logged.name, str)
    assert_type(logged.path, Path)
    assert_type(logged.type, str | None)
    assert_type(logged.desc, str | None)
    assert_type(logged.labels, list[str] | None)
    assert_type(logged.meta, dict[Any, Any] | None)
    assert_type(logged.md5, str | None)
    assert_type(logged.size, int)
    assert_type(logged.nfiles, int)
    assert_type(logged.dvc_file, Path | None)
    logged.name = "other"  # type: ignore[misc]


async def submit(path: Path) -> None:
    async with AsyncLive() as live:
        handle = await live.submit(path, "model", move=True, wait=False, latest_wins=True)
        assert_type(handle, ArtifactHandle)
        assert_type(handle.name, str)
        assert_type(handle.path, Path)
        assert_type(handle.done, bool)
        if handle.stage == "logged":
            handle.cancel()
        if handle.stage == "looged":  # type: ignore[comparison-overlap]
            handle.cancel()
        assert_type(await handle, LoggedArtifact)
        assert_type(await handle.wait(), LoggedArtifact)
        assert_type(live.exp_name, str | None)
        await live.drain()  # type: ignore[call-arg]
        drained = await live.drain(30)
        assert_type(drained, DrainResult)
        assert_type(drained.logged, tuple[LoggedArtifact, ...])
        assert_type(drained.not_logged, tuple[NotLogged, ...])
        for one in drained.not_logged:
            assert_type(one.path, str)
            assert_type(one.error, Exception)


# --- Pushes ---------------------------------------------------------------------------------


async def push(path: Path) -> None:
    policy = PushPolicy(remote="backup", when="before_commit", verify=None, max_requests=4)
    PushPolicy(when="after")  # type: ignore[arg-type]
    PushPolicy("backup")  # type: ignore[call-arg]
    AsyncLive(push=True)
    AsyncLive(push="backup")
    AsyncLive(push=3)  # type: ignore[arg-type]
    async with AsyncLive(push=policy) as live:
        handle = await live.submit(path)
        result = await handle.pushed()
        assert_type(result, PushResult)
        assert_type(result.remote, str)
        assert_type(result.objects, int)
        assert_type(result.resumed_bytes, int)
        assert_type(result.seconds, float)
        if result.verified_by == "hash":  # type: ignore[comparison-overlap]
            print(result)
        logged = await handle
        assert_type(await live.push(), PushResult)
        assert_type(await live.push(logged, "data", path, remote="backup"), PushResult)
        await live.push(verify="read")
        await live.push(verify="all")  # type: ignore[arg-type]
        assert_type((await live.drain(5)).not_pushed, tuple[NotPushed, ...])


def blocking_push(path: Path) -> None:
    with AsyncLive.blocking(push=True) as live:
        handle = live.submit(path)
        assert_type(handle.pushed(), PushResult)
        assert_type(handle.pushed(timeout=5), PushResult)
        assert_type(live.push(handle.result(), "data", remote="backup", verify=None), PushResult)
        live.push(3)  # type: ignore[arg-type]


def push_event(event: Event) -> None:
    if isinstance(event, PushStarted):
        assert_type(event.push, int)
    elif isinstance(event, PushProgress):
        assert_type(event.bytes_total, int)
    elif isinstance(event, Pushed):
        assert_type(event.result, PushResult)
    elif isinstance(event, PushFailed):
        assert_type(event.error, Exception)


# --- Statistics and events ------------------------------------------------------------------


async def statistics_and_events(live: AsyncLive) -> None:
    now = live.statistics()
    assert_type(now, AsyncLiveStatistics)
    assert_type(now.in_flight, int)
    assert_type(now.logged, int)
    assert_type(now.group_sizes, Mapping[int, int])
    events = live.events(bound=100)
    assert_type(events, EventStream)
    async for event in events:
        assert_type(event, Event)
        assert_type(event.time, float)
        if isinstance(event, EventsDropped):
            assert_type(event.events, int)
        elif isinstance(event, ArtifactStaging):
            assert_type(event.bytes_done, int)
        elif isinstance(event, ArtifactStaged):
            assert_type(event.nfiles, int)
        elif isinstance(event, ArtifactLogged):
            assert_type(event.artifact, LoggedArtifact)
        elif isinstance(event, ArtifactFailed):
            assert_type(event.error, Exception)
    await events.aclose()


# --- Code that is not async -----------------------------------------------------------------


def blocking(path: Path) -> None:
    with AsyncLive.blocking("results", root=path, workers=2) as live:
        assert_type(live, BlockingLive)
        assert_type(live.log_artifact(path, "model", copy=True), LoggedArtifact)
        handle = live.submit(path, move=True)
        assert_type(handle, BlockingHandle)
        assert_type(handle.result(), LoggedArtifact)
        assert_type(handle.result(timeout=5), LoggedArtifact)
        handle.cancel()
        assert_type(live.drain(None), DrainResult)
        assert_type(live.statistics(), AsyncLiveStatistics)
    AsyncLive.blocking(workers="2")  # type: ignore[arg-type]
    with AsyncLive() as live:  # type: ignore[attr-defined]
        pass


# --- Errors ---------------------------------------------------------------------------------


async def errors(live: AsyncLive) -> None:
    try:
        await live.log_artifact("model.pt")
    except InvalidMetadataError as error:
        assert_type(error.field, str)
    except ArtifactNotFoundError as error:
        not_found: FileNotFoundError = error
        assert_type(error.path, str)
        print(not_found)
    except LockTimeoutError as error:
        timeout: TimeoutError = error
        assert_type(error.lock_timeout, float)
        print(timeout)
    except NotActiveError as error:
        runtime: RuntimeError = error
        print(runtime)
    except ArtifactConflictError as error:
        assert_type(error.other, str)
    except StorageError as error:
        assert_type(error.errno, int | None)
    except (ArtifactCancelledError, ArtifactChangedError, ArtifactPathError) as error:
        assert_type(error.path, str)
    except (RemoteAccessError, RemoteNotFoundError, RemoteVerifyError) as error:
        any_of: PushError = error
        assert_type(any_of.remote, str | None)
        assert_type(any_of.option, str | None)
        assert_type(any_of.failed, tuple[FailedObject, ...])
        for one in any_of.failed:
            assert_type(one.path, str)
    except (BackPressureError, DvcYamlError, WorkerDiedError) as error:
        ours: AsyncLiveError = error
        print(ours)
