"""Other processes that have a session, until a test kills them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Process:
    """Runs a program that writes a line once it is where the test wants it, and stays there."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        """The next line that it writes."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def ask(self, line: str) -> str:
        """Write it a line; the next one that it writes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.line()

    @property
    def status(self) -> int:
        """How it has ended; minus the signal, if one has killed it."""
        return self._process.wait()

    def kill(self) -> None:
        """SIGKILL, and wait for the end: from then on it holds no lock."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Let it go on to its end, which is to be a good one."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0


@contextmanager
def running(program: str, *args: str | Path, cwd: Path | None = None) -> Iterator[Process]:
    """The program runs; after the block it is killed, if it has not ended."""
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
            process.kill()  # does nothing to one that has ended, and was waited for
