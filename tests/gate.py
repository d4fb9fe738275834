"""Hold threads, tasks and other processes until a test lets them continue."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sniffio

# The locks of dvc.lock.Lock and, for core.hardlink_lock, of dvc.lock.HardlinkLock.
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


SECONDS = 60  # a test that never opens its gate fails after these


class LockHolder:
    """Another process that holds DVC's lock; calls of this process come as far as their commit."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def open(self) -> None:
        """Release the lock. Later calls do nothing."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0


@contextmanager
def locked(repo: Path, *, hardlink: bool = False) -> Iterator[LockHolder]:
    """Have another process hold DVC's lock of ``repo`` until ``open`` or the end of the block."""
    path = repo / ".dvc" / "tmp" / "lock"
    path.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD[hardlink], str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder = LockHolder(process)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield holder
        finally:
            holder.open()


class Gate:
    """Hold the threads and tasks that arrive, until it is opened for good.

    It is made, and opened, in the thread of the event loop. Called in a worker thread, it holds
    that thread.
    """

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._opened = anyio.Event()
        self._opened_for_threads = threading.Event()
        self._call_soon = _call_soon()

    def open(self) -> None:
        self._opened.set()
        self._opened_for_threads.set()

    def __call__(self) -> str:
        if not self._opened_for_threads.is_set():
            self._call_soon(self.reached.set)
            assert self._opened_for_threads.wait(SECONDS)
        return "passed"

    async def hold_task(self) -> None:
        """Hold this task, also where its scope is cancelled."""
        self.reached.set()
        with anyio.CancelScope(shield=True):
            await self._opened.wait()

    @contextmanager
    def opened_after(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.open()


def gate_at(patch: pytest.MonkeyPatch, owner: Any, name: str) -> Gate:
    """Return a gate that holds the worker threads that call this function."""
    gate = Gate()
    function = getattr(owner, name)

    def held(*args: Any, **kwargs: Any) -> Any:
        gate()
        return function(*args, **kwargs)

    patch.setattr(owner, name, held)
    return gate


def _call_soon() -> Callable[[Callable[[], object]], object]:
    """Return a function that any thread can call, to have the event loop call another one."""
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio

    return asyncio.get_running_loop().call_soon_threadsafe
