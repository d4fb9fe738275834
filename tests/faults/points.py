"""Define the moments at which a process can die: before, within and after each change of the disk.

A child process installs the moments before it imports anything else. They do nothing until they
are armed. Then every thread counts its moments by the stage of asynclive that it is in. At the
chosen moment the process kills itself with SIGKILL, which no code can catch.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

# The innermost frame that is listed here gives the stage. A key is a module, or one function of it
# ("module:function", a method by its name alone). Modules that several stages use, as
# ``asynclive._cache.object_store``, are not listed: an outer frame gives the stage.
# ``test_points.py`` checks that each key exists.
STAGES = {
    "asynclive._workspace.source_scan": "plan",
    "asynclive._ingest.small_files:_stage_small": "stage small",
    "asynclive._ingest.copy_and_hash": "stage large",
    "asynclive._stage.large_files:_finish_large": "stage large",
    "asynclive._stage.stage_job:make_dirs": "stage directory",
    "asynclive._stage.stage_job:finish_dirs": "stage directory",
    "asynclive._ingest.batch_processes": "stage in processes",
    "asynclive._ingest.batch_worker": "stage in processes",
    "asynclive._ingest.batch_worker:_stage": "stage small",
    "asynclive._ingest.batch_worker:_store": "stage small",
    "asynclive._cache.hash_cache_file": "remember",
    "asynclive._workspace.moved_source": "move",
    "asynclive._dvc.tracking.dvc_outputs:fill": "tree",
    "asynclive._dvc.tracking.dvc_outputs:hide": ".gitignore",
    "asynclive._dvc.tracking.dvc_file_writer:write_temp": ".dvc",
    "asynclive._dvc.tracking.committer:_commit_one": ".dvc",
    "asynclive._workspace.apply_placement": "place",
    "asynclive._fs.atomic_rename": "place",
    "asynclive._fs.atomic_rename:can_rename_between": "enter",
    "asynclive._fs.remove_tree:remove_tree": "clean up",
    "asynclive._stage.deferred_removal:discard": "clean up",
    "asynclive._dvc.tracking.dvc_state:save_files": "DVC's state",
    "asynclive._dvc.tracking.dvc_state:save_group": "DVC's state",
    "asynclive._dvcyaml.dvcyaml_file": "dvc.yaml",
    "asynclive._dvcyaml.async_files": "dvc.yaml",
    "asynclive._engine.pushing.pending_pushes": "push",
    "asynclive._remote.directory.object_copy": "push",
    "asynclive._remote.directory.object_directory": "push",
    "asynclive._dvc.repository.repository_lock:acquire": "lock",
    "asynclive._dvc.repository.repository_lock:release": "lock",
    "asynclive._dvc.repository.dvc_repository:open": "enter",
    "asynclive._dvc.repository.dvc_repository:close": "leave",
}
# aiofiles runs a method of the file itself in a thread, so no frame of ours is on that stack.
NO_STAGE = "dvc.yaml"

Moment = tuple[str, int]
"""A stage, and the number of the moment in that stage, from zero."""

# Calls that change the disk. They take one path, two paths, or a descriptor.
_CHANGES = (
    *("chmod", "copy_file_range", "fchmod", "ftruncate", "link", "mkdir", "remove", "rename"),
    *("replace", "rmdir", "sendfile", "symlink", "truncate", "unlink", "utime"),
)
_READS = ("scandir", "stat")
_SQL_READS = ("SELECT", "PRAGMA")


class Armed:
    """Counts the moments, and kills the process at the moment ``target``.

    Args:
        target: None: only count.
        last_words: called with the action that the process was about to do, before it dies.
        dies: false: another process dies, which ``last_words`` kills; this one goes on.
    """

    def __init__(
        self, target: Moment | None, last_words: Callable[[str], None], *, dies: bool = True
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._target = target
        self._last_words = last_words
        self._dies = dies
        self._lock = threading.Lock()

    def reached(self, stage: str) -> bool:
        with self._lock:
            number = self.counts[stage]
            self.counts[stage] += 1
        return (stage, number) == self._target

    def die(self, doing: str) -> None:
        self._last_words(doing)
        if self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()


_armed: Armed | None = None


def arm(armed: Armed | None) -> None:
    global _armed
    _armed = armed


def install() -> None:
    """Wrap every call that changes the disk, for the lifetime of this process."""
    for name in _CHANGES:
        if hasattr(os, name):
            _install(name, around(name, getattr(os, name)))
    for name in _READS:
        _install(name, _within_plan(name, getattr(os, name)))
    _install("open", _opening(os.open))
    os.write = _writing(os.write)
    builtins.open = io.open = _open
    sqlite3.connect = partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]


def around(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call with a moment before it and one after it."""

    @wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        moment(f"before {name}", *args)
        result = real(*args, **kwargs)
        moment(f"after {name}", *args)
        return result

    return call


def moment(doing: str, *about: Any) -> None:
    if _armed is not None and _armed.reached(_stage()):
        _armed.die(f"{doing} {about}")


def _install(name: str, wrapped: Callable[..., Any]) -> None:
    real = getattr(os, name)
    for supporting in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
        if real in supporting:
            supporting.add(wrapped)
    setattr(os, name, wrapped)


def _stage() -> str:
    return _stage_of(sys._getframe(2)) or NO_STAGE


def _stage_of(frame: Any) -> str | None:
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        stage = STAGES.get(f"{module}:{frame.f_code.co_name}") or STAGES.get(module)
        if stage is not None:
            return stage
        frame = frame.f_back
    return None


def _within_plan(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    # A plan only reads. A process can die while it makes a plan all the same.
    @wraps(real)
    def read(*args: Any, **kwargs: Any) -> Any:
        if _armed is not None and _stage_of(sys._getframe(1)) == "plan":
            moment(f"before {name}", *args)
        return real(*args, **kwargs)

    return read


def _opening(real: Callable[..., int]) -> Callable[..., int]:
    unnamed = getattr(os, "O_TMPFILE", 0)
    change = around("open", real)

    @wraps(real)
    def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        changes_disk = flags & (os.O_CREAT | os.O_TRUNC) or (unnamed and flags & unnamed == unnamed)
        return (change if changes_disk else real)(path, flags, *args, **kwargs)

    return open_


def _writing(real: Callable[[Any, Any], int]) -> Callable[[Any, Any], int]:
    """Return the write with a moment before it, one after half of the bytes, and one at its end."""

    def write(to: Any, data: Any) -> int:
        moment("before write", to)
        if _armed is not None and _armed.reached(_stage()):
            whole = memoryview(data).cast("B")
            written = real(to, whole[: len(whole) // 2])
            _armed.die(f"within write {to}")
            written += real(to, whole[len(whole) // 2 :])
        else:
            written = real(to, data)
        moment("after write", to)
        return written

    return write


class _File(io.FileIO):
    """A file with moments: FileIO opens and writes from C, not through ``os``."""

    def __init__(self, *args: Any) -> None:
        moment("before open", *args)
        super().__init__(*args)
        moment("after open", *args)

    write = _writing(io.FileIO.write)  # type: ignore[assignment]


_real_open = io.open


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Do as ``open`` does, but return a file with moments (``_File``) for writing."""
    if not set("wax+") & set(mode):
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = _File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline)
    text.mode = mode  # type: ignore[misc]
    return text


class _Connection(sqlite3.Connection):
    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        real = super().execute
        if sql.lstrip().upper().startswith(_SQL_READS):
            return real(sql, *args)
        return around(f"SQL {sql}", real)(sql, *args)  # type: ignore[no-any-return]
