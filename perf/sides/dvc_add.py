"""The commands that track files from a terminal: ``dvc add`` and ``asynclive log``."""

from __future__ import annotations

import subprocess
import sys

from perf.harness.repository import Repository

Command = list[str]


def dvc_add(names: list[str]) -> Command:
    return [sys.executable, "-m", "dvc", "add", "--quiet", *names]


def asynclive_log(names: list[str]) -> Command:
    return [sys.executable, "-m", "asynclive", "log", *names]


def execute(repository: Repository, command: Command) -> str:
    """Run a command in a repository; return its output.

    Raises:
        CalledProcessError: The command failed.
    """
    done = subprocess.run(
        command,
        cwd=repository.path,
        env=repository.env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout
