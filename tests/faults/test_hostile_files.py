"""Pipes, devices and other special files are refused by name, never opened, never waited for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from disk import leftovers, objects, refused, write
from invariants import assert_nothing_lost

from asynclive import ArtifactChangedError, ArtifactPathError, AsyncLive, AsyncLiveError

pytestmark = pytest.mark.anyio

WAYS: list[dict[str, Any]] = [{"copy": True}, {"copy": "sub"}, {"copy": True, "cache": False}]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def full(path: Path) -> None:
    path.symlink_to("/dev/full")


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")  # each open creates a terminal


SPECIAL = [fifo, full, zero, terminal]


@pytest.mark.parametrize("make", SPECIAL, ids=lambda make: make.__name__)
async def test_a_special_file_in_a_directory_is_refused_by_name_and_fails_alone(
    repo: Path, make: Callable[[Path], None]
) -> None:
    write(repo, {f"data/{n % 5}/{n}": f"{n}" for n in range(200)} | {"fine": "fine"})
    make(repo / "data/3/odd")
    errors: list[AsyncLiveError] = []
    async with AsyncLive(root=repo) as live:

        async def log(path: str, **values: Any) -> None:
            try:
                await live.log_artifact(path, **values)
            except ArtifactPathError as error:
                errors.append(error)

        for values in ({}, *WAYS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda values=values: log("data", **values))
                tasks.start_soon(lambda values=values: log("fine", **values))
    assert len(errors) == 1 + len(WAYS)
    assert all(f"'{repo}/data/3/odd'" in str(error) for error in errors)
    assert list(objects(repo).values()) == [b"fine"]
    assert_nothing_lost(repo)


@pytest.mark.parametrize("make", SPECIAL, ids=lambda make: make.__name__)
@pytest.mark.parametrize("copy", [False, True])
async def test_a_call_does_not_wait_for_a_special_file_that_replaces_a_planned_file(
    repo: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], copy: bool
) -> None:
    write(repo, {"data/a": "a", "data/b": "b"})
    real_open, swapped = os.open, []

    def swap_first(path: Any, *args: Any, **kwargs: Any) -> int:
        if not swapped and os.fspath(path) == str(repo / "data/b"):
            swapped.append(path)
            (repo / "data/b").unlink()
            make(repo / "data/b")
        return real_open(path, *args, **kwargs)

    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swap_first)
            with pytest.raises(ArtifactChangedError, match="data/b"):
                await live.log_artifact("data", copy=copy)
    assert swapped
    assert_nothing_lost(repo)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    "path", ["/proc/self/status", "/proc/cpuinfo", "/proc/mounts", "/proc/self/cmdline"]
)
async def test_a_file_that_reports_size_zero_but_has_bytes_is_refused(
    repo: Path, path: str
) -> None:
    os.symlink(path, repo / "link")
    write(repo, {"data/a": "a"})
    os.symlink(path, repo / "data/link")
    async with AsyncLive(root=repo) as live:
        for way in WAYS:
            for given in (path, "link", "data"):
                with refused(repo, ArtifactPathError, match="not a regular file", objects=False):
                    await live.log_artifact(given, **way)
        for given in ("link", "data"):
            with refused(repo, ArtifactPathError, match="not a regular file", objects=False):
                await live.log_artifact(given)
    assert_nothing_lost(repo)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_other_files_of_the_kernel_raise_an_error_of_asynclive(repo: Path) -> None:
    paths = ["/proc/self/clear_refs", "/proc/self/fd", "/proc/self/task", "/dev/fd"]
    async with AsyncLive(root=repo) as live:
        for path in paths:
            for way in WAYS:
                with pytest.raises(AsyncLiveError):
                    await live.log_artifact(path, **way)
    assert leftovers(repo) == []
