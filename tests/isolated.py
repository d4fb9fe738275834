"""Inspect and patch the worker process of ``isolation="process"`` from a test."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from session_process import Process

from asynclive import AsyncLive
from asynclive._isolation import start_worker

# Code for a worker: hold each commit until the pipe ``go`` is opened, and say ``h`` to `Said`.
HELD_COMMIT = """
from asynclive._dvc.repository.dvc_repository import DvcRepository
commit = DvcRepository.commit
def held(self, group):
    os.write(said, b"h")
    open({go!r}).close()
    return commit(self, group)
DvcRepository.commit = held
"""

# Far more than any worker needs: a test that hangs fails with a message.
_SECONDS = 60


def in_worker(patch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in each worker before it serves; the code can import asynclive."""
    command = start_worker._COMMAND
    assert command.endswith("\nserve()\n")
    command = command.removesuffix("serve()\n") + code + "\nserve()\n"
    patch.setattr(start_worker, "_COMMAND", command)


def hold_worker(patch: pytest.MonkeyPatch, go: Path, module: str, owner: str, name: str) -> None:
    """Hold each worker at a function until the test opens the pipe ``go``."""
    os.mkfifo(go)
    in_worker(
        patch,
        f"""
from {module} import {owner}
real = {owner}.{name}
def held(*args):
    open({str(go)!r}).close()
    return real(*args)
{owner}.{name} = held
""",
    )


def before_worker(patch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in each worker before its first import."""
    patch.setattr(start_worker, "_COMMAND", code + start_worker._COMMAND)


def process_of(live: AsyncLive) -> subprocess.Popen[bytes]:
    """Return the process of the current worker."""
    process: subprocess.Popen[bytes] = live._session.engine._lifecycle.process  # type: ignore[attr-defined]
    return process


def pid_of(live: AsyncLive) -> int:
    """Return the process id of the current worker."""
    return process_of(live).pid


class Said:
    """A pipe that workers write to. Each worker holds it open until it ends.

    Args:
        path: where to make the pipe.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Not blocking: the test process, which reads it, may be dead.
        self.code = f"""
import os
said = os.open({str(path)!r}, os.O_WRONLY | os.O_NONBLOCK)
os.write(said, b"+")
"""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def until(self, end: str) -> str:
        """Return what the workers write, up to this text."""
        return await anyio.to_thread.run_sync(self._read, end.encode())

    async def to_the_end(self) -> str:
        """Return what the workers write until the last one has ended."""
        return await anyio.to_thread.run_sync(self._read, None)

    async def bereave(self, parent: Process, go: Path) -> None:
        """Kill the parent of a held worker, then let the worker continue to its end."""
        await self.until("h")
        parent.kill()
        await anyio.to_thread.run_sync(go.write_bytes, b"")
        await self.to_the_end()

    def _read(self, end: bytes | None) -> str:
        said = b""
        while end is None or not said.endswith(end):
            assert select.select([self._fd], [], [], _SECONDS)[0], f"they said {said!r}, no more"
            try:
                some = os.read(self._fd, 1)
            except BlockingIOError:
                continue
            if not some and end is None:
                break
            assert some, f"they have ended, and said {said!r}"
            said += some
        return said.decode()

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def said_by_workers(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[Said]:
    """Have workers write ``+`` when they start; the pipe ends with the last worker."""
    said = Said(directory / "said")
    in_worker(patch, said.code)
    try:
        yield said
    finally:
        said.close()
