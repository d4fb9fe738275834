"""Log on disks that refuse or ignore changes of permissions, as those of SMB and FAT do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from disk import write
from invariants import content
from twin import dvc

from asynclive import AsyncLive, LoggedArtifact
from asynclive._doctor.diagnosis import diagnose

pytestmark = [pytest.mark.anyio, on_asyncio, pytest.mark.usefixtures("nothing_left_behind")]

Disk = Callable[[pytest.MonkeyPatch], None]


def refuse(number: int) -> Callable[..., Any]:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def ignore(*args: object, **kwargs: object) -> None:
    """Change nothing."""


def refusing(number: int) -> Disk:
    def disk(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "chmod", refuse(number))
        patch.setattr(os, "fchmod", refuse(number))

    disk.__name__ = errno.errorcode[number]
    return disk


def without_modes(patch: pytest.MonkeyPatch) -> None:
    """Give every file and directory the mode 0755, as SMB and FAT do. There are no links."""
    real_open, real_mkdir, real_fchmod = os.open, os.mkdir, os.fchmod

    def open_0755(path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        is_new = flags & os.O_CREAT and not os.path.lexists(path)
        fd = real_open(path, flags, mode, **kwargs)
        if is_new:
            real_fchmod(fd, 0o755)
        return fd

    patch.setattr(os, "open", open_0755)
    patch.setattr(os, "mkdir", lambda path, mode=0o777, **kwargs: real_mkdir(path, 0o755, **kwargs))
    patch.setattr(os, "chmod", ignore)
    patch.setattr(os, "fchmod", ignore)
    patch.setattr(os, "link", refuse(errno.EPERM))
    patch.setattr(os, "symlink", refuse(errno.EPERM))


DISKS: list[Disk] = [
    *map(refusing, (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EROFS, errno.ENOSYS)),
    without_modes,
]
on_each_disk = pytest.mark.parametrize("disk", DISKS, ids=lambda disk: disk.__name__)


def objects(repo: Path) -> dict[str, int]:
    """Return the inode of each object, by its path."""
    cache = repo / ".dvc/cache/files/md5"
    return {str(path): path.stat().st_ino for path in cache.glob("??/*")}


async def log_each(live: AsyncLive) -> list[LoggedArtifact]:
    logged = []
    for name in ("small", "large", "data"):
        logged.append(await live.log_artifact(name))
        logged.append(await live.log_artifact(name, copy=True))
        logged.append(await (await live.submit(name, copy="submitted")))
    return [*logged, await live.log_artifact("data/sub/b")]


@on_each_disk
@pytest.mark.parametrize("shared", [False, True], ids=["private", "cache.shared group"])
async def test_artifacts_are_logged_and_their_objects_written_once(
    repo: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk, shared: bool
) -> None:
    if shared:
        dvc(repo, "config", "cache.shared", "group")
    with monkeypatch.context() as patch:
        disk(patch)
        write(repo, {"small": "small", "large": "large " * 300_000})
        write(repo, {"data/a": "a", "data/sub/b": "b", "data/large": "LARGE " * 300_000})
        sources = {name: content(repo / name) for name in ("small", "large", "data")}
        async with AsyncLive(root=repo) as live:
            for logged in await log_each(live):
                if logged.path.name in sources:
                    assert content(logged.path) == sources[logged.path.name]
            first = objects(repo)
            await log_each(live)
            assert objects(repo) == first
        async with AsyncLive(root=repo) as live:
            await log_each(live)
        assert objects(repo) == first
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."


async def test_an_object_with_other_bytes_is_written_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_modes(monkeypatch)
    write(repo, {"small": "small", "large": "large " * 300_000})
    for name in ("small", "large"):
        async with AsyncLive(root=repo) as live:
            await live.log_artifact(name)
        (damaged,) = objects(repo)
        text = Path(damaged).read_text()
        Path(damaged).write_text(text.upper())
        async with AsyncLive(root=repo) as live:
            await live.log_artifact(name)
        assert Path(damaged).read_text() == text
        Path(damaged).unlink()


@on_each_disk
async def test_doctor_notes_a_cache_that_cannot_protect_objects(
    repo: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    async with AsyncLive(root=repo):
        pass
    assert not any("write-protect" in note for note in diagnose(str(repo)).notes)
    disk(monkeypatch)
    diagnosis = diagnose(str(repo))
    assert diagnosis.problems == []
    assert any("cannot write-protect its objects" in note for note in diagnosis.notes)
