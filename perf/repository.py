"""A fresh repository for one run, that nothing outside of it has a say in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def make_repository(repo: Path, env: dict[str, str]) -> None:
    """Make ``repo``: Git and DVC, with one commit."""
    repo.mkdir()
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for command in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [*git, "commit", "--quiet", "--message", "start"],
    ):
        subprocess.run(command, cwd=repo, env=env, check=True, stdout=subprocess.DEVNULL)


def environment(run_dir: Path) -> dict[str, str]:
    """The environment, without what would point Git and DVC elsewhere or make them report."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC", "PYTEST_"))}
    env["DVC_SITE_CACHE_DIR"] = str(run_dir / "site-cache")
    env["DVC_NO_ANALYTICS"] = "1"
    return env
