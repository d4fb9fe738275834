"""A fresh Git and DVC repository for one run, and the process that the run is."""

from __future__ import annotations

import json
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

ROOT = Path(__file__).resolve().parents[2]


class RunFailedError(Exception):
    """A run that ended with an error; says the last line it printed."""


@dataclass(frozen=True)
class Repository:
    path: Path
    env: dict[str, str]

    def run(self, module: str, *arguments: object) -> dict[str, Any]:
        """Run a module of ``perf`` here, in a process of its own; return what it prints.

        What an earlier run wrote is on disk before, so that it is not written back during
        this one.
        """
        os.sync()
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise RunFailedError(lines[-1] if lines else f"exit status {done.returncode}")
        printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return printed


@contextmanager
def fresh_repository(where: Path) -> Iterator[Repository]:
    """A repository in ``where``, removed afterwards."""
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
    """The environment, without what would point Git and DVC elsewhere or make them report."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC", "PYTEST_"))}
    env["DVC_SITE_CACHE_DIR"] = str(run_dir / "site-cache")
    env["DVC_NO_ANALYTICS"] = "1"
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    for role in ("AUTHOR", "COMMITTER"):
        env[f"GIT_{role}_NAME"] = "bench"
        env[f"GIT_{role}_EMAIL"] = "bench@example.com"
    return env
