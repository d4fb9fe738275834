"""Who stands still until a test lets them go on: at DVC's lock, or at a function."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

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


class Stop:
    """Where worker threads stop until the test lets them go on, for good."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached = anyio.Event()
        self._go = threading.Event()
        function = getattr(owner, name)

        def stopped(*args: Any, **kwargs: Any) -> Any:
            if not self._go.is_set():
                anyio.from_thread.run_sync(self.reached.set)
                assert self._go.wait(timeout=60)
            return function(*args, **kwargs)

        patch.setattr(owner, name, stopped)

    def open(self) -> None:
        self._go.set()

    @contextmanager
    def opened_after(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.open()
