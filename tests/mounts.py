"""Make a directory another disk, or a file a mount point: mounted, or by system calls that refuse.

Only root can mount. As any other user, the calls that rename and link refuse what the kernel would
refuse: the paths of two disks (EXDEV), and a mount point itself (EBUSY).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclive._fs import atomic_rename
from perf.harness.loop_filesystem import NotPossibleError, mounted


class Mounts:
    """Makes other disks and mount points, until ``stack`` is closed."""

    def __init__(self, tmp_path: Path, stack: contextlib.ExitStack) -> None:
        self._tmp_path = tmp_path
        self._stack = stack

    def volume(self, path: Path) -> Path:
        """Make ``path`` an empty directory on another disk."""
        path.mkdir(parents=True, exist_ok=True)
        self._bind(self._stack.enter_context(mounted("tmpfs", 256 * 2**20, self._tmp_path)), path)
        return path

    def file(self, path: Path) -> Path:
        """Make the file at ``path`` a mount point. It keeps its bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        source = self._tmp_path / f"mounted-{len(os.listdir(self._tmp_path))}"
        source.write_bytes(path.read_bytes())
        self._bind(source, path)
        return path

    def overlay(self, lower: Path, upper: Path, point: Path) -> None:
        """Mount the directory ``lower`` at ``point``; changes go into ``upper``."""
        for name in ("upper", "work"):
            (upper / name).mkdir()
        layers = f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work"
        self._mount("-t", "overlay", "overlay", "-o", layers, point)

    def _bind(self, source: Path, point: Path) -> None:
        self._mount("--bind", source, point)

    def _mount(self, *arguments: str | Path) -> None:
        point = arguments[-1]
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise NotPossibleError(done.stderr)
        self._stack.callback(subprocess.run, ["umount", "--lazy", point], check=True)


class ScriptedMounts:
    """Makes system calls refuse what they would refuse on other disks and at mount points."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._volumes: list[str] = []
        self._files: list[str] = []
        for name in ("rename", "replace", "link"):
            patch.setattr(os, name, self._refusing(getattr(os, name)))
        if (renameat2 := atomic_rename._renameat2) is not None:
            patch.setattr(atomic_rename, "_renameat2", self._refusing_renameat2(renameat2))

    def volume(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        self._volumes.append(str(path))
        return path

    def file(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._files.append(str(path))
        return path

    def _error(self, one: str, other: str) -> int:
        paths = [
            os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            for path in map(os.fsdecode, (one, other))
        ]
        disks = [
            {volume for volume in self._volumes if path.startswith(f"{volume}{os.sep}")}
            for path in paths
        ]
        if disks[0] != disks[1]:
            return errno.EXDEV
        return errno.EBUSY if {*paths} & {*self._volumes, *self._files} else 0

    def _refusing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(one: str, other: str, **kwargs: Any) -> Any:
            if not str(one).startswith("/proc/self/fd") and (error := self._error(one, other)):
                raise OSError(error, os.strerror(error), one, None, other)
            return real(one, other, **kwargs)

        return call

    def _refusing_renameat2(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(dir1: int, one: str, dir2: int, other: str, flags: int) -> int:
            if error := self._error(one, other):
                ctypes.set_errno(error)
                return -1
            return real(dir1, one, dir2, other, flags)

        return call


AnyMounts = Mounts | ScriptedMounts


@contextlib.contextmanager
def mounts_of(way: str, tmp_path: Path) -> Iterator[AnyMounts]:
    """Yield what makes mount points: ``way`` is "mounted" or "scripted"."""
    if way == "scripted":
        with pytest.MonkeyPatch.context() as patch:
            yield ScriptedMounts(patch)
        return
    base = tmp_path / "mounts"
    base.mkdir()
    try:
        with contextlib.ExitStack() as stack:
            yield Mounts(base, stack)
    except NotPossibleError as error:
        pytest.skip(str(error))
