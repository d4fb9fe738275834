"""A fresh Git and DVC repository for one run, and the child process that is the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf.harness.child_process import run_child, with_python_path

_FROM_OUTSIDE = ("GIT_", "DVC", "PYTEST_", "AWS_")


@dataclass(frozen=True)
class Repository:
    """A repository, and the environment in which commands run there."""

    path: Path
    env: dict[str, str]

    def run(self, bench: str, *, asynclive_src: Path | None = None, **given: Any) -> dict[str, Any]:
        """Call ``measure(**given)`` of a bench here, in a process of its own.

        First waits until the disk has everything that an earlier run wrote. Otherwise the system
        would write it back during this run.

        Raises:
            RunFailedError: The child ended with an error.
        """
        os.sync()
        return run_child(bench, given, self.path, with_python_path(self.env, asynclive_src))


@contextmanager
def fresh_repository(where: Path) -> Iterator[Repository]:
    """Make a repository in a new directory of ``where``; remove the directory afterwards."""
    run_dir = Path(tempfile.mkdtemp(dir=where))
    try:
        repository = Repository(run_dir / "repo", environment(run_dir))
        make_repository(repository.path, repository.env)
        yield repository
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def make_repository(path: Path, env: dict[str, str]) -> None:
    path.mkdir()
    for command in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        ["git", "commit", "--quiet", "--message", "start"],
    ):
        subprocess.run(command, cwd=path, env=env, check=True, stdout=subprocess.DEVNULL)


def environment(run_dir: Path) -> dict[str, str]:
    """Return the environment without variables that point Git, DVC and clients of S3 elsewhere."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(_FROM_OUTSIDE)}
    env["DVC_SITE_CACHE_DIR"] = str(run_dir / "site-cache")
    env["DVC_NO_ANALYTICS"] = "1"
    for role in ("AUTHOR", "COMMITTER"):
        env[f"GIT_{role}_NAME"] = "bench"
        env[f"GIT_{role}_EMAIL"] = "bench@example.com"
    return env
