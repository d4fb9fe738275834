"""Compute the states that a power cut may leave, from the syncs that a program has made.

The model is the least that POSIX promises. A file keeps the bytes of its last sync, and a directory
keeps the names of its last sync. Each later name may survive or not, independently of the bytes.
Everything that existed at the start survives.

Calls of every thread of this process are recorded, one at a time. The test reports a sync in a
child process by ``synced``. With ``isolation="process"``, ``RemoteCuts`` records in the worker.
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import random
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from worker_agent import Agents

from asynclive._fs import atomic_rename
from asynclive._workspace import apply_placement

Content = bytes | str | dict[str, "Content"]
"""The bytes of a file, the target of a symlink, or the entries of a directory."""
Entries = dict[str, tuple[int, str | None]]
"""The file number of each name, and the target if the name is a symlink."""
State = dict[str, Content]


class PowerCuts:
    """Records the syncs below ``base``, and the names there whenever they change.

    Args:
        keep: whether to collect the states that a power cut may leave, in ``states``.
        tmp: whether states include temp files. A renamed file is then at its old or its new path
            in every state. File systems with a journal promise that, and ``move=True`` needs it.
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
        # File number by inode. A number is dropped when its last name is removed, since the system
        # may give the inode to another file.
        self._files: dict[int, int] = {}
        self._numbers = itertools.count()
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, Entries] = {}
        self._random = random.Random(0)
        self.syncs: list[str] = []
        """The path of each sync, in order; ``(deleted)`` in it if the file has no name yet."""
        self.fail_at: int | None = None
        """The index in ``syncs`` of the sync that fails with EIO."""
        self.states: dict[Any, State] = {}
        """The states that a power cut may leave, each different state once."""
        self.settle()
        self._hook(monkeypatch)

    def settle(self) -> None:
        """Take everything that exists now as synced."""
        with self._lock:
            for path in (self._base, *self._base.rglob("*")):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    self._bytes[self._file(status.st_ino)] = path.read_bytes()
                elif stat.S_ISDIR(status.st_mode):
                    self._names[self._file(status.st_ino)] = self._entries(path)

    def synced(self, inode: int, path: Path) -> None:
        """Record that a child process has synced this file, which was not written since."""
        with self._lock:
            assert path.stat().st_ino == inode
            self._bytes[self._file(inode)] = path.read_bytes()

    def surviving(self) -> State:
        """Return the state after a power cut now, if nothing survives but synced data."""
        return self._state(lambda written, current: written)

    def current(self) -> State:
        """Return the files that exist now."""
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
                status = os.fstat(fd)
                before = (
                    self._entries(Path(path))
                    if stat.S_ISDIR(status.st_mode)
                    else Path(f"/proc/self/fd/{fd}").read_bytes()
                )
                self.syncs.append(path)
                if self.fail_at == len(self.syncs) - 1:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                real(fd)
                if isinstance(before, bytes):
                    self._bytes[self._file(status.st_ino)] = before
                else:
                    self._names[self._file(status.st_ino)] = before
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
        """Drop the file's number: the system may give its inode to another file."""
        try:
            status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            self._files.pop(status.st_ino, None)

    def _file(self, inode: int) -> int:
        return self._files.setdefault(inode, next(self._numbers))

    def _cut(self) -> None:
        """Record the states after a power cut now: of unsynced names survive none, all, or any."""
        if not self._keep:
            return
        rng = self._random
        for choose in (
            lambda written, current: written,
            lambda written, current: current,
            lambda written, current: _random_mix(written, current, rng),
        )[: 2 if self._tmp else 3]:
            state = self._state(choose)
            self.states.setdefault(_frozen(state), state)

    def _state(self, choose: Callable[[Entries, Entries], Entries]) -> State:
        def tree(path: Path, file: int) -> State:
            written = self._names.get(file, {})
            # If the path was renamed, another file or none is at its old path.
            current = self._entries(path) if self._file_at(path) == file else written
            return {
                name: content(path / name, *entry)
                for name, entry in sorted(choose(written, current).items())
                if name != ".git" and (self._tmp or not _is_temp(name))
            }

        def content(path: Path, file: int, target: str | None) -> Content:
            if target is not None:
                return target
            if file in self._names or (path.is_dir() and self._file_at(path) == file):
                return tree(path, file)
            return self._bytes.get(file, b"")

        with self._lock:
            return tree(self._base, self._file(self._base.stat().st_ino))

    def _file_at(self, path: Path) -> int | None:
        try:
            return self._file(path.lstat().st_ino)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _entries(self, path: Path) -> Entries:
        entries_by_name: Entries = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    link = os.readlink(entry.path) if entry.is_symlink() else None
                    entries_by_name[entry.name] = self._file(entry.inode()), link
        except (FileNotFoundError, NotADirectoryError):
            pass  # removed, or no directory any more
        return entries_by_name


class RemoteCuts:
    """``PowerCuts`` in the worker process that starts next, from its start to its end.

    Args:
        base: as for ``PowerCuts``.
        agents: puts the record into the worker.
        tmp: as for ``PowerCuts``.
    """

    def __init__(self, base: Path, agents: Agents, *, tmp: bool = False) -> None:
        self._recorded = agents.directory / "states"
        args = str(base), str(self._recorded), tmp
        self._agent = agents.make("power_cut:_WorkerCuts", *args)

    def surviving(self) -> State:
        state: State = self._agent.ask("surviving")
        return state

    def current(self) -> State:
        state: State = self._agent.ask("current")
        return state

    @property
    def states(self) -> dict[Any, State]:
        """The states that a power cut may leave. The worker must have ended."""
        with self._recorded.open("rb") as file:
            states: dict[Any, State] = pickle.load(file)
        return states


class _WorkerCuts(PowerCuts):
    """The record in the worker."""

    session: Any = None  # the agent sets it

    def __init__(self, base: str, recorded: str, tmp: bool) -> None:
        super().__init__(Path(base), pytest.MonkeyPatch(), tmp=tmp)
        end = os._exit

        def write_and_end(status: int) -> NoReturn:
            with self._lock, open(recorded, "wb") as file:
                pickle.dump(self.states, file)
            end(status)

        os._exit = write_and_end  # the last call of a worker


def _frozen(state: State) -> Any:
    return tuple(
        (name, _frozen(content) if isinstance(content, dict) else content)
        for name, content in state.items()
    )


def _random_mix(written: Entries, current: Entries, rng: random.Random) -> Entries:
    chosen: Entries = {}
    for name in sorted(written.keys() | current.keys()):
        entry = rng.choice((written, current)).get(name)
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
    """Return whether the name holds temp files of DVC or asynclive, or Git's own files."""
    return name in (".git", "tmp") or name.startswith(".asynclive-")


def build(state: State, path: Path) -> None:
    """Write a state as files, so that a test can open it as a repository."""
    path.mkdir()
    for name, content in state.items():
        if isinstance(content, dict):
            build(content, path / name)
        elif isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            (path / name).symlink_to(content)


def iterate(states: dict[Any, State], base: Path) -> Iterator[Path]:
    """Yield each state, built in a new directory."""
    for number, state in enumerate(states.values()):
        path = base / f"cut-{number}"
        build(state, path)
        yield path
