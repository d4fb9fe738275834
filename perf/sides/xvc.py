"""xvc, another tool that versions data in Git: measured where it is installed.

Its time is no measure for MD5. xvc hashes with BLAKE3, which is several times faster, and which
several cores can compute for one file.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from perf.harness.workload import Call, Clock, Side, Workload


def missing(workload: Workload) -> str | None:
    """Return why xvc cannot run a workload on this machine; None if it can."""
    if importlib.util.find_spec("xvc") is None:
        return "xvc is not installed"
    if workload.change is not None:
        return "xvc has another command for changed files"
    return None


def track(calls: list[Call], clock: Clock) -> None:
    """Run ``xvc file track`` with all paths at once.

    xvc only tracks in place. With ``copy`` the sources are copied into the workspace first, by the
    kernel where possible, and that is part of the time. xvc's commits to Git are switched off,
    because no other side makes one.
    """
    from xvc import run_xvc

    if not Path(".xvc").exists():
        # In another process: a process that began outside of a repository does not find it later.
        init = "import xvc; xvc.run_xvc('xvc --skip-git init')"
        subprocess.run([sys.executable, "-c", init], check=True, stdout=subprocess.DEVNULL)
    with clock:
        targets = [_copied(call.path) if call.options.get("copy") else call.path for call in calls]
        paths = [os.path.relpath(path) for path in targets]
        run_xvc("xvc --skip-git file track " + shlex.join(paths))


def _copied(path: Path) -> Path:
    target = Path("dvclive/artifacts", path.name).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy2(path, target)
    return target


XVC = Side("xvc", track, is_dvc=False, cache=".xvc/b3", missing=missing)
