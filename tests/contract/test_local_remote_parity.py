"""A directory that LocalRemote has filled is what ``dvc push`` leaves, and DVC works with it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import write
from twin import dvc, git

from asynclive._artifact.push_records import PushObject, PushUnit, RemoteDescription
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {"model.pt": "weights" * 200_000, "data/ä ö": "a", "data/b/empty": "", "data/b/same": "a"}


def add(repo: Path) -> None:
    write(repo, FILES)
    dvc(repo, "add", "--quiet", "model.pt", "data")


def units_of(repo: Path, remote: RemoteDescription) -> list[PushUnit]:
    """Make a unit of each object in the cache that is a listing, and one of all other objects."""
    cache = repo / ".dvc" / "cache" / "files" / "md5"
    paths = sorted(cache.glob("??/*"))
    objects = {
        path.parent.name + path.name: PushObject(
            path.parent.name + path.name, path.stat().st_size, "data"
        )
        for path in paths
    }
    units = [
        PushUnit("", remote, str(cache), [obj for md5, obj in objects.items() if "." not in md5])
    ]
    for path in paths:
        if path.suffix == ".dir":
            files = [objects[entry["md5"]] for entry in json.loads(path.read_text())]
            units.append(
                PushUnit("", remote, str(cache), files, objects[path.parent.name + path.name])
            )
    return units


async def push(repo: Path, directory: Path, shared: str | None = None) -> None:
    prefix = str(directory / "files" / "md5")
    remote = RemoteDescription("ours", str(directory), "local", prefix, {"shared": shared})
    budget = RequestBudget()

    async def open_store(description: RemoteDescription) -> LocalRemote:
        return LocalRemote(description, budget, str(repo / ".dvc" / "tmp" / "asynclive"))

    pusher = Pusher(open_store, budget)
    await pusher.push(units_of(repo, remote), "store", PushCounts())
    await pusher.aclose()


def state(directory: Path) -> dict[str, tuple[str, bytes | None]]:
    """Return mode and bytes of each path below a directory, and of itself."""
    return {
        str(path.relative_to(directory)): (
            stat.filemode(path.stat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in (directory, *directory.rglob("*"))
    }


def configure(repo: Path, name: str, directory: Path, shared: str | None = None) -> None:
    dvc(repo, "remote", "add", "--quiet", name, str(directory))
    if shared:
        dvc(repo, "remote", "modify", name, "shared", shared)


@pytest.mark.parametrize(
    ("kind", "shared"),
    [("missing", None), ("setgid", None), ("setgid", "group"), ("other umask", None)],
)
async def test_objects_and_directories_are_those_of_dvc_push(
    repo: Path, tmp_path: Path, kind: str, shared: str | None
) -> None:
    add(repo)
    sides = {}
    for name in ("theirs", "ours"):
        top = sides[name] = tmp_path / name
        directory = top / "a name/with spaces" / "remote"
        top.mkdir()
        if kind != "missing":
            directory.mkdir(parents=True)
        if kind == "setgid":
            directory.chmod(0o2770)
        configure(repo, name, directory, shared)
    before = os.umask(0o027 if kind == "other umask" else 0o022)
    try:
        # A process of its own: DVC reads the umask when it is imported.
        command = [sys.executable, "-m", "dvc", "push", "--quiet", "--remote", "theirs"]
        subprocess.run(command, cwd=repo, check=True)
        await push(repo, sides["ours"] / "a name/with spaces" / "remote", shared)
    finally:
        os.umask(before)
    assert state(sides["ours"]) == state(sides["theirs"])


@pytest.fixture
async def pushed(repo: Path, tmp_path: Path) -> Path:
    """The directory of a remote to which everything was pushed."""
    add(repo)
    directory = tmp_path / "ours"
    configure(repo, "ours", directory)
    await push(repo, directory)
    return directory


async def test_dvc_finds_the_remote_in_sync(repo: Path, pushed: Path) -> None:
    assert json.loads(dvc(repo, "status", "--cloud", "--remote", "ours", "--json")) == {}
    assert "up to date" in dvc(repo, "push", "--remote", "ours")


async def test_a_clone_pulls_every_byte(repo: Path, pushed: Path, tmp_path: Path) -> None:
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=Track")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repo), str(clone))
    dvc(clone, "pull", "--quiet", "--remote", "ours")
    assert {name: (clone / name).read_text() for name in FILES} == FILES


async def test_dvc_gc_removes_the_objects_that_are_not_used_and_minds_no_temp_directory(
    repo: Path, pushed: Path
) -> None:
    objects = pushed / "files" / "md5"
    temp = objects / ".asynclive-0123456789abcdef"
    temp.mkdir(mode=0o700)
    (temp / "session").touch()
    (temp / "0").write_bytes(b"half")
    used = set(objects.glob("??/*"))
    (objects / "ab").mkdir(exist_ok=True)
    unused = objects / "ab" / ("c" * 30)
    unused.touch()
    dvc(repo, "gc", "--quiet", "--workspace", "--cloud", "--remote", "ours", "--force")
    assert set(objects.glob("??/*")) == used
    assert (temp / "0").read_bytes() == b"half"
    assert json.loads(dvc(repo, "status", "--cloud", "--remote", "ours", "--json")) == {}
