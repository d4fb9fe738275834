"""Who holds DVC's locks at this moment, as far as DVC has written it down. Only looks."""

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
    """A process that holds DVC's lock, or has parts of the workspace to itself.

    Attributes:
        what: ``"repository"``, or the path that it reads or writes.
        pid: its id, on the machine that it runs on; None: it is not written down.
        command: what it runs; None: likewise.
    """

    what: str
    pid: int | None
    command: str | None


def lock_holders(lock: str, tmp_dir: str) -> list[LockHolder]:
    """Who holds the repository's lock, and who is in ``rwlock``, where `dvc` commands say so.

    Args:
        lock: the file of the lock (``zc.lockfile``, which has flock on it and writes its pid).
        tmp_dir: where ``rwlock`` lies.
    """
    holders = []
    if _is_held(lock):
        pid = _pid(lock)
        holders.append(LockHolder("repository", pid, None if pid is None else _command(pid)))
    return holders + _in_rwlock(os.path.join(tmp_dir, "rwlock"))


def _is_held(path: str) -> bool:
    if fcntl is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, and let go at once: whoever asks for it meanwhile asks again.
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
            said = file.read(4096)
    except OSError:
        return None
    return " ".join(os.fsdecode(said).rstrip("\0").split("\0")) or None


def _in_rwlock(path: str) -> list[LockHolder]:
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        holders = [(where, one) for where, one in said.get("write", {}).items()]
        holders += [(where, one) for where, all_ in said.get("read", {}).items() for one in all_]
        return [_in_row(where, one) for where, one in holders]
    except (OSError, ValueError, AttributeError, TypeError):
        return []  # DVC itself says what is wrong with it


def _in_row(where: str, one: Any) -> LockHolder:
    pid, command = one.get("pid"), one.get("cmd")
    return LockHolder(where, pid if isinstance(pid, int) else None, str(command))
