"""What a power cut may leave, by what a program has asked the system to write down.

The model is the least that POSIX promises: of a file survive the bytes that it had when it was
last synced, of a directory the names that it had then. Of what came later each name may survive
or not, whatever became of the bytes. Everything that was there at the start survives.

Calls are recorded in this process, in every thread, one at a time; what a child process did is
told by ``synced``.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclive._fs import atomic_rename
from asynclive._workspace import apply_placement

Content = bytes | str | dict[str, "Content"]
"""Bytes of a file, where a link leads, or a directory's entries."""
Entries = dict[str, tuple[int, str | None]]
"""Of each name which file it is, and where it leads if it is a symbolic link."""
State = dict[str, Content]


class PowerCuts:
    """Records what is synced below ``base``, and what is there whenever that changes.

    Args:
        keep: whether to keep what a power cut may leave at each moment, for ``states``.
        tmp: whether temp files count, and what was renamed is in one of its two places: file
            systems with a journal promise that, and whoever gives a source up needs it.
    """

    def __init__(
        self,
        base: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        keep: bool = True,
        tmp: bool = False,
    ) -> None:
        self._base = base
        self._keep = keep
        self._tmp = tmp
        self._lock = threading.RLock()
        # A file for as long as a name of it may survive: its inode may be another's by then.
        self._files: dict[int, int] = {}
        self._numbers = itertools.count()
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, Entries] = {}
        self._random = random.Random(0)
        self.syncs: list[str] = []
        """The path of each sync, in order; of a file that has no name yet, ``(deleted)``."""
        self.fail_at: int | None = None
        """Which sync fails with EIO, as a place in ``syncs``."""
        self.states: dict[Any, State] = {}
        """What a power cut may leave, each different state once."""
        self.settle()
        self._hook(monkeypatch)

    def settle(self) -> None:
        """All that is there now is on the disk."""
        with self._lock:
            for path in (self._base, *self._base.rglob("*")):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    self._bytes[self._file(found.st_ino)] = path.read_bytes()
                elif stat.S_ISDIR(found.st_mode):
                    self._names[self._file(found.st_ino)] = self._entries(path)

    def synced(self, inode: int, path: Path) -> None:
        """A child process has synced this file, which was not written since."""
        with self._lock:
            assert path.stat().st_ino == inode
            self._bytes[self._file(inode)] = path.read_bytes()

    def surviving(self) -> State:
        """What is there after a power cut now, if nothing is but what was synced."""
        return self._state(lambda written, current: written)

    def current(self) -> State:
        """What is there now."""
        return _current(self._base)

    def _hook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._syncing(getattr(os, name)))
        for name in ("rename", "replace", "link", "symlink"):
            monkeypatch.setattr(os, name, self._naming(getattr(os, name)))
        monkeypatch.setattr(apply_placement, "exchange", self._naming(atomic_rename.exchange))
        for name in ("unlink", "remove", "rmdir"):
            monkeypatch.setattr(os, name, self._removing(getattr(os, name)))
        monkeypatch.setattr(os, "open", self._opening(os.open))

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            with self._lock:
                path = os.readlink(f"/proc/self/fd/{fd}")
                found = os.fstat(fd)
                before = (
                    self._entries(Path(path))
                    if stat.S_ISDIR(found.st_mode)
                    else Path(f"/proc/self/fd/{fd}").read_bytes()
                )
                self.syncs.append(path)
                if self.fail_at == len(self.syncs) - 1:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                real(fd)
                if isinstance(before, bytes):
                    self._bytes[self._file(found.st_ino)] = before
                else:
                    self._names[self._file(found.st_ino)] = before
                self._cut()

        return sync

    def _naming(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def name(*args: Any, **options: Any) -> Any:
            with self._lock:
                if real.__name__ in ("rename", "replace"):
                    self._forget(args[1])
                result = real(*args, **options)
                self._cut()
                return result

        return name

    def _removing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def remove(path: Any, *, dir_fd: int | None = None) -> Any:
            with self._lock:
                self._forget(path, dir_fd)
                return real(path, dir_fd=dir_fd)

        return remove

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def open_(path: Any, flags: int, *args: Any, **options: Any) -> int:
            with self._lock:
                fd = real(path, flags, *args, **options)
                unnamed = getattr(os, "O_TMPFILE", 0)
                if flags & os.O_EXCL or (unnamed and flags & unnamed == unnamed):
                    self._files.pop(os.fstat(fd).st_ino, None)
                return fd

        return open_

    def _forget(self, path: Any, dir_fd: int | None = None) -> None:
        """Its inode may be given to another file."""
        try:
            found = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            self._files.pop(found.st_ino, None)

    def _file(self, inode: int) -> int:
        return self._files.setdefault(inode, next(self._numbers))

    def _cut(self) -> None:
        """The power may go now: nothing, every, or any name survives that was not synced."""
        if not self._keep:
            return
        toss = self._random
        for choose in (
            lambda written, current: written,
            lambda written, current: current,
            lambda written, current: _any(written, current, toss),
        )[: 2 if self._tmp else 3]:
            state = self._state(choose)
            self.states.setdefault(_frozen(state), state)

    def _state(self, choose: Callable[[Entries, Entries], Entries]) -> State:
        def tree(path: Path, file: int) -> State:
            written = self._names.get(file, {})
            # What was renamed has another's names at its old path, or none.
            current = self._entries(path) if self._at(path) == file else written
            return {
                name: content(path / name, *entry)
                for name, entry in sorted(choose(written, current).items())
                if name != ".git" and (self._tmp or not _is_temp(name))
            }

        def content(path: Path, file: int, leads_to: str | None) -> Content:
            if leads_to is not None:
                return leads_to
            if file in self._names or (path.is_dir() and self._at(path) == file):
                return tree(path, file)
            return self._bytes.get(file, b"")

        with self._lock:
            return tree(self._base, self._file(self._base.stat().st_ino))

    def _at(self, path: Path) -> int | None:
        try:
            return self._file(path.lstat().st_ino)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _entries(self, path: Path) -> Entries:
        found: Entries = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    link = os.readlink(entry.path) if entry.is_symlink() else None
                    found[entry.name] = self._file(entry.inode()), link
        except (FileNotFoundError, NotADirectoryError):
            pass  # gone, or another's place by now
        return found


def _frozen(state: State) -> Any:
    return tuple(
        (name, _frozen(content) if isinstance(content, dict) else content)
        for name, content in state.items()
    )


def _any(written: Entries, current: Entries, toss: random.Random) -> Entries:
    chosen: Entries = {}
    for name in sorted(written.keys() | current.keys()):
        entry = toss.choice((written, current)).get(name)
        if entry is not None:
            chosen[name] = entry
    return chosen


def _current(path: Path) -> State:
    def content(child: Path) -> Content:
        if child.is_symlink():
            return os.readlink(child)
        return _current(child) if child.is_dir() else child.read_bytes()

    return {
        child.name: content(child)
        for child in sorted(path.iterdir(), key=lambda child: child.name)
        if not _is_temp(child.name)
    }


def _is_temp(name: str) -> bool:
    """Nobody misses it: DVC's temp files and ours, and what Git keeps."""
    return name in (".git", "tmp") or name.startswith(".asynclive-")


def build(state: State, path: Path) -> None:
    """Lay a state out as files, to be looked at as any repository."""
    path.mkdir()
    for name, content in state.items():
        if isinstance(content, dict):
            build(content, path / name)
        elif isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            (path / name).symlink_to(content)


def iterate(states: dict[Any, State], base: Path) -> Iterator[Path]:
    """Each state, built in a directory of its own."""
    for number, state in enumerate(states.values()):
        path = base / f"cut-{number}"
        build(state, path)
        yield path
