"""DVC's repository lock, held by another process until a test lets it go."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# As DVC locks (dvc.lock.Lock), and for core.hardlink_lock (dvc.lock.HardlinkLock).
_HOLD = {
    False: """
import sys, zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
lock.close()
""",
    True: """
import sys, flufl.lock, datetime
lock = flufl.lock.Lock(sys.argv[1], lifetime=datetime.timedelta(hours=1))
lock.lock()
print("held", flush=True)
sys.stdin.read()
lock.unlock()
""",
}


class Gate:
    """While it is closed, another process holds the lock: calls come as far as their commit."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def open(self) -> None:
        """Let the lock go; once is enough."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0


@contextmanager
def locked(repo: Path, *, hardlink: bool = False) -> Iterator[Gate]:
    """Another process holds DVC's lock of ``repo``, until the gate opens or the block ends."""
    path = repo / ".dvc" / "tmp" / "lock"
    path.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD[hardlink], str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    gate = Gate(process)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield gate
        finally:
            gate.open()
