"""Which process owns a session, and whether that process has certainly ended. Blocks.

A file lock alone does not tell. Some network disks grant each host its own locks: NFS with
``nolock``, Lustre with ``localflock``. There a host gets the lock of a session that runs on another
one. The file ``session`` therefore names its owner, and a heartbeat renews its mtime.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from contextlib import suppress
from typing import NamedTuple

from .._fs.file_io import READ

# Seconds without a heartbeat after which a session counts as ended, if its process cannot be looked
# up from here. Ten minutes are 30 heartbeats. NFS clients cache an mtime for up to a minute, and
# wait some minutes for a server that restarts.
SILENT_SECONDS = 600.0
# The same for a host that has booted since the last heartbeat. A host may share its name with
# another one, so three heartbeats must be missing.
REBOOTED_SECONDS = 60.0
# Only here the kernel tells a boot from the next, and processes from those that had the same id.
_LINUX = sys.platform.startswith("linux")
# A record is shorter. More bytes than this are not a record.
MOST_BYTES = 4096


class Owner(NamedTuple):
    """The process that owns a session. Process ids are unique in one namespace of one boot."""

    host: str
    boot: str
    """The id of this boot of the host; empty: this system does not tell."""
    pid_namespace: str
    """Differs between containers on one host; empty: this system does not tell."""
    pid: str
    started: str
    """The start time of the process, in ticks since the boot: the kernel reuses process ids."""

    def to_bytes(self) -> bytes:
        return "".join(f"{value}\n" for value in self).encode(errors="surrogateescape")


def this_process() -> Owner:
    """Return this process as the owner of a session."""
    host, pid = socket.gethostname(), str(os.getpid())
    try:
        pid_in_proc = os.readlink("/proc/self")
        owner = Owner(
            host,
            boot=_read("/proc/sys/kernel/random/boot_id").strip(),
            pid_namespace=os.readlink("/proc/self/ns/pid"),
            pid=pid,
            started=_state_and_start("self")[1],
        )
    except (OSError, ValueError, IndexError):
        return Owner(host, "", "", pid, "")
    if pid_in_proc != pid:  # /proc shows the processes of another namespace
        return Owner(host, owner.boot, "", pid, "")
    return owner


def has_ended(directory: str, lock_name: str) -> bool:
    """Return whether the owner of a session has certainly ended, whatever its lock says.

    There are three cases:

    1. The owner is a process that this one can look up. It has ended if it does not exist.
    2. The host of the owner has booted since the last heartbeat.
    3. The owner is on another host or in another container, or is unknown: an older version wrote
       no record, and a kill may cut it short. It counts as ended after a long silence.

    Raises:
        OSError: it cannot be told.
    """
    owner, here = _read_owner(os.path.join(directory, lock_name)), this_process()
    silent_seconds = SILENT_SECONDS
    if owner is not None and owner.host == here.host:
        if owner[:3] == here[:3] and (owner.pid_namespace or not _LINUX):
            return not _is_running(owner)  # case 1
        if owner.boot and here.boot and owner.boot != here.boot:  # case 2
            silent_seconds = min(silent_seconds, max(REBOOTED_SECONDS, _seconds_since_boot()))
    return _seconds_silent(directory) > silent_seconds


def _read_owner(path: str) -> Owner | None:
    """Return the owner of a session; None: it is unknown."""
    try:
        fd = os.open(path, READ)
    except FileNotFoundError:
        return None
    try:
        data = os.read(fd, MOST_BYTES)
    finally:
        os.close(fd)
    *values, end = data.decode(errors="surrogateescape").split("\n")
    if len(values) != len(Owner._fields) or end:
        return None
    owner = Owner(*values)
    return owner if owner.pid.isdecimal() else None


def _is_running(owner: Owner) -> bool:
    """Return whether a process of this namespace runs; True if that cannot be told."""
    if not _LINUX:
        return False  # the lock alone decides
    try:
        state, started = _state_and_start(owner.pid)
    except FileNotFoundError:
        # The process has ended, or belongs to another user and is hidden (hidepid).
        with suppress(ProcessLookupError):
            return _exists(int(owner.pid))
        return False
    except ProcessLookupError:  # it ended while its file was read
        return False
    except (OSError, ValueError, IndexError):
        return True
    return started == owner.started and state not in "ZX"  # Z: killed, and its parent has not seen


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    return True


def _state_and_start(pid: str) -> tuple[str, str]:
    """Return the state and the start time of a process (proc_pid_stat(5))."""
    # The name of the program is in parentheses, and may contain some itself.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[0], fields[19]


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _seconds_since_boot() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # goes on while the host is suspended
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _seconds_silent(directory: str) -> float:
    """Return for how long nothing in a directory has changed, by the clock of its disk.

    The clock of a host may differ from that of the server.
    """
    newest = os.stat(directory).st_mtime
    for root, names, files in os.walk(directory):
        for name in (*names, *files):
            with suppress(FileNotFoundError):
                newest = max(newest, os.lstat(os.path.join(root, name)).st_mtime)
    with tempfile.TemporaryFile(dir=os.path.dirname(directory)) as file:
        return os.fstat(file.fileno()).st_mtime - newest
