"""Run a small program that uses asynclive, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from backends import Isolation


def run_program(
    repo: Path, code: str, *args: str, isolation: Isolation = "thread"
) -> subprocess.Popen[str]:
    """Start ``code`` in ``repo``, with pipes for its output. Any warning of Python is an error."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        cwd=repo,
        env={**os.environ, "ASYNCLIVE_ISOLATION": isolation},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
