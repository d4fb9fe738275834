"""Run one measurement of a bench in a process of its own, from any working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
COMMAND = (sys.executable, "-m", "perf")


class RunFailedError(Exception):
    """A child process failed; the message is the last line that it printed."""


def with_python_path(
    environment: Mapping[str, str], asynclive_src: Path | None = None
) -> dict[str, str]:
    """Return the environment in which a child finds ``perf``, whatever its working directory.

    Args:
        environment: The environment of the child otherwise.
        asynclive_src: The ``src`` directory that the child imports asynclive from (default: the
            installed one).
    """
    paths = (asynclive_src, ROOT, environment.get("PYTHONPATH"))
    return {**environment, "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)}


def asynclive_src(side: str, against: Path | None) -> Path | None:
    """Return the ``src`` directory of a side; None without ``--against``.

    With it both checkouts come from ``PYTHONPATH``, so that an import costs them the same.
    """
    if against is None:
        return None
    return against if side == "against" else SRC


def run_child(
    bench: str, given: Mapping[str, Any], cwd: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Call ``measure(**given)`` of a bench in a child process, and return its result.

    Raises:
        RunFailedError: The child ended with an error.
    """
    done = subprocess.run(
        [*COMMAND, "child", bench, json.dumps(given, default=str)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RunFailedError(lines[-1] if lines else f"exit status {done.returncode}")
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed
