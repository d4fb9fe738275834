"""At no moment can more users read the bytes than their source or their cache allows.

Published files have the modes that ``dvc add`` and the umask give.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import write
from invariants import assert_nothing_lost
from twin import Templates, dvc

from asynclive import AsyncLive
from asynclive._fs import atomic_rename

pytestmark = pytest.mark.anyio

SECRET = "secret " * 200_000  # of the large files; the small file holds one word of it
# Each umask takes two programs that import DVC.
UMASKS = [0o077, *(pytest.param(umask, marks=pytest.mark.long) for umask in (0o022, 0o002))]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # modes are set in threads, which are the same on trio


def openness(path: Path, repo: Path) -> int:
    """Return the read bits of group and others that the directories above do not block."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    for directory in path.parents:
        if directory == repo:
            break
        directory_mode = stat.S_IMODE(directory.lstat().st_mode)
        for user_class in (0o070, 0o007):
            if not directory_mode & user_class & 0o011:
                mode &= ~user_class
    return mode & 0o044


class Watch:
    """Records the modes of all files that hold the secret, after each system call."""

    NAMES = ("open", "mkdir", "rename", "replace", "link", "symlink", "chmod", "fchmod", "utime")

    def __init__(self, patch: pytest.MonkeyPatch, repo: Path) -> None:
        self.moments = 0
        self.open_modes: dict[str, int] = {}
        self._repo = repo
        for name in self.NAMES:
            patch.setattr(os, name, self._watched(getattr(os, name)))
        if atomic_rename._renameat2 is not None:
            patch.setattr(atomic_rename, "_renameat2", self._watched(atomic_rename._renameat2))

    def _watched(self, func: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = func(*args, **kwargs)
            self._look()
            return result

        return call

    def _look(self) -> None:
        self.moments += 1
        for directory, _, names in os.walk(self._repo):
            if ".git" in directory.split(os.sep):
                continue
            for name in names:
                path = Path(directory, name)
                try:
                    if not path.is_symlink() and path.stat().st_size in (len(SECRET), 6):
                        key = str(path.relative_to(self._repo))
                        self.open_modes[key] = self.open_modes.get(key, 0) | openness(
                            path, self._repo
                        )
                except FileNotFoundError:
                    pass  # the file was removed in between


@pytest.mark.parametrize(
    "kind",
    ["copy", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("hardlink", "symlink"))],
)
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("shared", [False, True])
async def test_at_no_moment_can_more_users_read_a_file_than_at_the_end(
    repo: Path, monkeypatch: pytest.MonkeyPatch, kind: str, cache: bool, shared: bool
) -> None:
    dvc(repo, "config", "cache.type", kind)
    if shared:
        dvc(repo, "config", "cache.shared", "group")
    write(repo, {"large": SECRET, "data/small": "secret", "data/sub/large": SECRET})
    for path, mode in {"large": 0o600, "data": 0o700, "data/small": 0o640}.items():
        (repo / path).chmod(mode)
    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            watch = Watch(patch, repo)
            for _ in range(2):
                await live.log_artifact("large", copy=True, cache=cache)
                await live.log_artifact("data", copy=True, cache=cache)
    assert watch.moments > 20
    assert any("asynclive-" in name for name in watch.open_modes)
    for name, open_modes in watch.open_modes.items():
        path = repo / name
        # Only the user can read a temp file. A published file is never more open than at the end.
        if "asynclive-" in name:
            assert open_modes == 0, name
        elif path.exists():
            assert open_modes & ~openness(path, repo) == 0, name
    assert_nothing_lost(repo)


_LOG = """
import anyio, sys
from asynclive import AsyncLive
async def main():
    async with AsyncLive(root=sys.argv[1]) as live:
        for path in sys.argv[2:]:
            await live.log_artifact(path)
anyio.run(main)
"""


def modes(repo: Path) -> dict[str, str]:
    """Return the modes of all files of DVC in the workspace and in its cache."""
    return {
        str(path.relative_to(repo)): oct(path.lstat().st_mode)
        for path in sorted(repo.rglob("*"))
        if not {".git", "tmp", "config"} & set(path.relative_to(repo).parts)
    }


@pytest.mark.parametrize("kind", ["copy", pytest.param("hardlink", marks=pytest.mark.long)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("umask", UMASKS, ids=lambda umask: f"{umask:03o}")
def test_published_files_have_the_modes_of_dvc_add(
    templates: Templates, tmp_path: Path, umask: int, shared: bool, kind: str
) -> None:
    names = ["model.pt", "run.sh", "secret", "data"]
    repos = [templates.make("git", tmp_path / side) for side in ("ours", "theirs")]
    for repo in repos:
        with (repo / ".dvc/config").open("a") as file:
            file.write(f"[cache]\n    type = {kind}\n" + "    shared = group\n" * shared)
        write(repo, {name: name for name in (*names[:3], "data/a", "data/sub/b")})
        (repo / "run.sh").chmod(0o755)
        (repo / "secret").chmod(0o600)
    ours, theirs = repos
    log = [sys.executable, "-c", _LOG, str(ours), *names]
    add = [sys.executable, "-m", "dvc", "add", "--quiet", *names]
    for command, repo in ((log, ours), (add, theirs)):
        subprocess.run(command, cwd=repo, check=True, umask=umask)
    assert modes(ours) == modes(theirs)
