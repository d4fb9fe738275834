"""Refuse a path that is no file, or that is missing, and name it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, refused, tree, write

from asynclive import ArtifactNotFoundError, ArtifactPathError, AsyncLive, AsyncLiveError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive(
        "hangs on a FIFO, a socket or a device, and registers a missing path all the same"
    ),
]

WAYS: list[dict[str, Any]] = [
    {},
    {"copy": True},
    {"cache": False},
    {"copy": True, "cache": False},
    {"copy": "sub/dir"},
]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most about 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def link_to_device(path: Path) -> None:
    os.symlink("/dev/null", path)


def link_to_endless_device(path: Path) -> None:
    os.symlink("/dev/zero", path)


SPECIAL: dict[Callable[[Path], None], str] = {
    fifo: "named pipe",
    unix_socket: "socket",
    link_to_device: "character device",
    link_to_endless_device: "character device",
}


@pytest.mark.parametrize("make", SPECIAL, ids=lambda make: make.__name__)
async def test_a_special_file_is_refused_and_its_kind_named(
    repo: Path, make: Callable[[Path], None]
) -> None:
    make(repo / "odd")
    write(repo, {"data/plain": "plain"})
    make(repo / "data/odd")
    async with AsyncLive(root=repo) as live:
        for way in WAYS:
            with refused(repo, ArtifactPathError, match=SPECIAL[make]) as caught:
                await live.log_artifact("odd", type="m", **way)
            assert caught.value.path == str(repo / "odd")
            with refused(repo, ArtifactPathError, match=f"'{repo}/data/odd'") as caught:
                await live.log_artifact("data", type="m", **way)
            assert SPECIAL[make] in str(caught.value)
            assert caught.value.path == str(repo / "data")


async def test_a_device_is_refused_in_place_and_copied(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="'/dev/null'"):
            await live.log_artifact("/dev/null")
        with refused(repo, ArtifactPathError, match="'/dev/null' is a character device"):
            await live.log_artifact("/dev/null", copy=True)


async def test_a_directory_with_an_ignored_pipe_is_logged(
    repo: Path,
) -> None:
    write(repo, {"data/a": "a", ".dvcignore": "pipe\n"})
    fifo(repo / "data/pipe")
    async with AsyncLive(root=repo) as live:
        assert (await live.log_artifact("data")).nfiles == 1
        # A copy would need the pipe.
        with refused(repo, ArtifactPathError, match="named pipe"):
            await live.log_artifact("data", copy=True)


async def test_a_pipe_in_the_place_of_a_copy_is_replaced_and_not_opened(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvclive/artifacts/other": ""})
    fifo(repo / "dvclive/artifacts/model.pt")
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", copy=True)
    assert tree(repo)["dvclive/artifacts/model.pt"] == "weights"


@pytest.mark.parametrize("path", ["missing.pt", "no/such/dir", "model.pt/inside", "data/missing"])
async def test_a_missing_path_is_not_found(repo: Path, path: str) -> None:
    write(repo, {"model.pt": "weights", "data/a": "a"})
    async with AsyncLive(root=repo) as live:
        for way in WAYS:
            with refused(repo, ArtifactNotFoundError, match="does not exist") as caught:
                await live.log_artifact(path, type="m", name="m", **way)
            assert isinstance(caught.value, FileNotFoundError)
            assert str(caught.value).startswith(f"'{repo / path}'")
            assert caught.value.path == str(repo / path)


async def test_a_missing_path_leaves_its_old_entry_and_dvc_file(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", type="m")
        (repo / "model.pt").unlink()
        with refused(repo, ArtifactNotFoundError):
            await live.log_artifact("model.pt", type="changed")
        write(repo, {"model.pt": "again"})
        await live.log_artifact("model.pt", type="changed")
    after = tree(repo)
    assert after["model.pt.dvc"] == dvc_file("again", "model.pt")
    assert after["dvc.yaml"] == "artifacts:\n  model:\n    path: model.pt\n    type: changed\n"


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_a_text_that_cannot_be_a_path_is_refused(repo: Path, path: str) -> None:
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="is not a path"):
            await live.log_artifact(path)


async def test_a_path_too_long_for_the_file_system_is_our_error(repo: Path) -> None:
    async with AsyncLive(root=repo) as live:
        with pytest.raises(AsyncLiveError, match="too long"):
            await live.log_artifact("n" * 300, type="m")
        write(repo, {"n" * 252: "name.dvc is one byte too long"})
        before = tree(repo)
        with pytest.raises(AsyncLiveError, match="too long"):
            await live.log_artifact("n" * 252, type="m")
        assert tree(repo) == before


async def test_a_dangling_link_is_refused(repo: Path) -> None:
    write(repo, {"data/a": "a"})
    os.symlink("nowhere", repo / "link.pt")
    os.symlink("nowhere", repo / "data/link")
    async with AsyncLive(root=repo) as live:
        for way in WAYS:
            with refused(repo, ArtifactPathError, match=f"'{repo}/link.pt'"):
                await live.log_artifact("link.pt", type="m", **way)
            with refused(repo, ArtifactPathError, match=f"'{repo}/data/link'"):
                await live.log_artifact("data", type="m", **way)


@pytest.mark.parametrize("target", [".", "..", "../data", "inner/../"])
async def test_a_loop_of_links_in_a_directory_to_copy_is_refused(repo: Path, target: str) -> None:
    write(repo, {"data/inner/a": "a"})
    os.symlink(target, repo / "data/loop")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="loop of symbolic links") as caught:
            await live.log_artifact("data", type="m", copy=True)
        assert "loop" in str(caught.value)


@pytest.mark.parametrize("copy", [True, False])
async def test_a_link_that_leads_to_itself_is_refused(repo: Path, copy: bool) -> None:
    write(repo, {"data/a": "a"})
    os.symlink("me", repo / "me")
    os.symlink("me", repo / "data/me")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match=f"'{repo}/me'"):
            await live.log_artifact("me", copy=copy)
        with refused(repo, ArtifactPathError, match=f"'{repo}/data/me'"):
            await live.log_artifact("data", copy=copy)
