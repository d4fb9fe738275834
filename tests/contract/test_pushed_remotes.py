"""A push leaves the remote that ``dvc push`` leaves, and DVC goes on from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from backends import on_asyncio
from disk import tree, write
from pushing import OpenStore, push_all
from s3_server import Bucket
from twin import dvc, git

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.open_store import open_store
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import RemoteStore

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {
    "model.pt": "model",
    "empty.bin": "",
    "same.pt": "model",
    "data/a": "a",
    "data/sub/b": "b",
    "data/empty": "",
    "other/a": "a",
    "other/ä b": "odd",
    "run.sh": "#!/bin/sh\n",
}
OUTPUTS = ("model.pt", "empty.bin", "same.pt", "data", "other", "run.sh")


class Remotes(Protocol):
    """Two remotes of one kind: ``ours`` and ``theirs``."""

    open_store: OpenStore | None

    def add(self, repo: Path, name: str) -> None:
        """Make one of them the default remote of a repository."""
        ...

    def content(self, name: str) -> object:
        """Return the objects of one, and all else that is there."""
        ...

    def harm(self, name: str, md5: str, content: bytes | None) -> None:
        """Replace the bytes of an object, or remove it."""
        ...


class Directories:
    """Directories."""

    def __init__(self, base: Path, *, by_dvc: bool) -> None:
        self._base = base
        self.open_store: OpenStore | None = None if by_dvc else self._open

    async def _open(self, remote: RemoteDescription, budget: RequestBudget) -> RemoteStore:
        return LocalRemote(remote, budget, str(self._base / "proofs"))

    def add(self, repo: Path, name: str) -> None:
        dvc(repo, "remote", "add", "--force", "-d", "storage", str(self._base / name))

    def content(self, name: str) -> object:
        return tree(self._base / name)

    def harm(self, name: str, md5: str, content: bytes | None) -> None:
        path = self._base / name / "files" / "md5" / md5[:2] / md5[2:]
        path.unlink()
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o444)


class Buckets:
    """Prefixes of one bucket."""

    def __init__(self, bucket: Bucket, base: Path, *, by_dvc: bool) -> None:
        self._bucket = bucket
        self._state_dir = str(base / "state")
        self.open_store: OpenStore | None = None if by_dvc else self._open

    async def _open(self, remote: RemoteDescription, budget: RequestBudget) -> RemoteStore:
        return await open_store(remote, budget, PushPolicy(), self._state_dir)

    def add(self, repo: Path, name: str) -> None:
        self._bucket.add_remote(repo, prefix=name)

    def content(self, name: str) -> object:
        found = self._bucket.objects(f"{name}/")
        return {key.removeprefix(name): each for key, each in found.items()}

    def harm(self, name: str, md5: str, content: bytes | None) -> None:
        key = f"{name}/files/md5/{md5[:2]}/{md5[2:]}"
        if content is None:
            self._bucket.delete(key)
        else:
            self._bucket.put(key, content)


@pytest.fixture(params=["local", "local by dvc", "s3", "s3 by dvc"])
def remotes(request: pytest.FixtureRequest, tmp_path: Path) -> Remotes:
    by_dvc = request.param.endswith("by dvc")
    if request.param.startswith("local"):
        return Directories(tmp_path, by_dvc=by_dvc)
    return Buckets(request.getfixturevalue("bucket"), tmp_path, by_dvc=by_dvc)


@pytest.fixture
def tracked(repo: Path) -> Path:
    write(repo, FILES)
    (repo / "run.sh").chmod(0o755)
    dvc(repo, "add", "--quiet", *OUTPUTS)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "all")
    return repo


@pytest.fixture
def clone(tracked: Path, tmp_path: Path) -> Callable[[], Path]:
    """Make a fresh clone, which has no cache and no files."""

    def make() -> Path:
        copy = tmp_path / "clone"
        if copy.exists():
            shutil.rmtree(copy)
        git(tracked, "clone", "--quiet", str(tracked), str(copy))
        for name in ("config", "config.local"):
            if (tracked / ".dvc" / name).exists():
                shutil.copy(tracked / ".dvc" / name, copy / ".dvc" / name)
        return copy

    return make


def files_of(repo: Path) -> dict[str, str]:
    return {name: (repo / name).read_text() for name in FILES if (repo / name).exists()}


async def test_the_remote_is_the_one_that_dvc_push_leaves(
    tracked: Path, remotes: Remotes, clone: Callable[[], Path]
) -> None:
    remotes.add(tracked, "theirs")
    dvc(tracked, "push", "--quiet")
    remotes.add(tracked, "ours")
    pushed = await push_all(tracked, open_store=remotes.open_store)
    content = remotes.content("ours")
    assert content == remotes.content("theirs")
    # DVC finds nothing to do.
    assert "in sync" in dvc(tracked, "status", "--cloud")
    assert "up to date" in dvc(tracked, "push")
    assert remotes.content("ours") == content
    # Another clone gets the same files.
    copy = clone()
    assert files_of(copy) == {}
    dvc(copy, "pull", "--quiet")
    assert files_of(copy) == FILES
    copy = clone()
    dvc(copy, "fetch", "--quiet")
    dvc(copy, "checkout", "--quiet")
    assert files_of(copy) == FILES
    assert (copy / "run.sh").stat().st_mode & 0o111
    # Neither does a second push find anything to do, after a push of DVC.
    remotes.add(tracked, "theirs")
    again = await push_all(tracked, open_store=remotes.open_store)
    assert (again.objects, again.skipped) == (0, pushed.objects)


async def test_dvc_gc_keeps_the_objects_that_are_in_use(tracked: Path, remotes: Remotes) -> None:
    for name in ("theirs", "ours"):
        remotes.add(tracked, name)
        if name == "ours":
            await push_all(tracked, open_store=remotes.open_store)
        else:
            dvc(tracked, "push", "--quiet")
    dvc(tracked, "remove", "data.dvc", "model.pt.dvc")
    for name in ("theirs", "ours"):
        remotes.add(tracked, name)
        dvc(tracked, "gc", "--quiet", "--workspace", "--cloud", "--force")
    assert remotes.content("ours") == remotes.content("theirs")
    assert (await push_all(tracked, open_store=remotes.open_store)).objects == 0


async def test_objects_that_dvc_takes_for_granted_are_sent_again(
    tracked: Path, remotes: Remotes, clone: Callable[[], Path]
) -> None:
    """DVC keeps an index of each remote, and takes the files of a listing that is there as there.

    A push reads neither: it looks for each object.
    """
    remotes.add(tracked, "ours")
    dvc(tracked, "push", "--quiet")
    content = remotes.content("ours")
    remotes.harm("ours", "0cc175b9c0f1b6a831c399e269772661", None)  # data/a, other/a
    remotes.harm("ours", "92eb5ffee6ae2fec3ad71c777531578f", b"")  # data/sub/b
    assert "up to date" in dvc(tracked, "push")
    pushed = await push_all(tracked, open_store=remotes.open_store)
    assert pushed.objects == 2
    assert remotes.content("ours") == content
    copy = clone()
    dvc(copy, "pull", "--quiet")
    assert files_of(copy) == FILES


async def test_a_clone_without_a_cache_has_nothing_to_push(
    tracked: Path, remotes: Remotes, clone: Callable[[], Path]
) -> None:
    remotes.add(tracked, "ours")
    await push_all(tracked, open_store=remotes.open_store)
    copy = clone()
    assert (await push_all(copy, open_store=remotes.open_store)).objects == 0
    # With a part of the files, too.
    dvc(copy, "fetch", "--quiet", "data/a")
    assert (await push_all(copy, open_store=remotes.open_store)).objects == 0
