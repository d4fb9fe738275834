"""Finds the processes that hold DVC's locks, as DVC's files say. Changes nothing."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process that holds DVC's lock, or has locked a path of the workspace.

    Attributes:
        what: ``"repository"``, or the path that the process reads or writes.
        pid: its id, on its own machine; None: DVC has not written it down.
        command: its command line; None: it is unknown.
    """

    what: str
    pid: int | None
    command: str | None


def find_lock_holders(lock: str, tmp_dir: str) -> list[LockHolder]:
    """Return the holder of the repository's lock, and the `dvc` commands listed in ``rwlock``.

    Args:
        lock: the lock file. ``zc.lockfile`` locks it by flock, and writes its pid into it.
        tmp_dir: the directory of ``rwlock``.
    """
    holders = []
    if _is_held(lock):
        pid = _pid(lock)
        holders.append(LockHolder("repository", pid, None if pid is None else _command(pid)))
    return holders + _read_rwlock(os.path.join(tmp_dir, "rwlock"))


def _is_held(path: str) -> bool:
    if fcntl is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, and released at once. A process that tries to lock the file in this moment fails,
        # and tries again.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def _pid(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            return int(file.read(64))
    except (OSError, ValueError):
        return None


def _command(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read(4096)
    except OSError:
        return None
    return " ".join(os.fsdecode(arguments).rstrip("\0").split("\0")) or None


def _read_rwlock(path: str) -> list[LockHolder]:
    try:
        with open(path, encoding="utf-8") as file:
            locks = json.load(file)
        holders = [(path, writer) for path, writer in locks.get("write", {}).items()]
        holders += [
            (path, reader) for path, readers in locks.get("read", {}).items() for reader in readers
        ]
        return [_from_rwlock(path, holder) for path, holder in holders]
    except (OSError, ValueError, AttributeError, TypeError):
        return []  # no file, or a damaged one, which DVC itself reports


def _from_rwlock(path: str, holder: Any) -> LockHolder:
    pid, command = holder.get("pid"), holder.get("cmd")
    return LockHolder(path, pid if isinstance(pid, int) else None, str(command))
