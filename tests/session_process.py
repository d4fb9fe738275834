"""Run other processes with a session until a test kills them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Process:
    """A program that writes a line once it has reached a point, and stays there."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str:
        """Return the next line that the program writes."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def ask(self, line: str) -> str:
        """Write a line to the program and return the next line that it writes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.line()

    @property
    def status(self) -> int:
        """The exit status; negative: the signal that killed it."""
        return self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. After that the process holds no lock."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Let the program continue to its end, which must be a success."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0


@contextmanager
def running(program: str, *args: str | Path, cwd: Path | None = None) -> Iterator[Process]:
    """Run the program; after the block, kill it if it has not ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Process(process)
        finally:
            process.kill()  # no effect on a process that has ended and was waited for
