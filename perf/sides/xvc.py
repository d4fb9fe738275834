"""Other tools that version data in Git, as a user runs them: optional, measured where installed.

They are no measure of MD5: xvc hashes with BLAKE3, which is several times faster and can be
split over cores within one file.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from perf.harness.standard_workloads import Call, Workload


def missing(side: str, workload: Workload) -> str | None:
    """Why a side cannot run a workload here; None where it can."""
    if side != "xvc":
        return None
    if importlib.util.find_spec("xvc") is None:
        return "xvc is not installed"
    if workload.change is not None:
        return "xvc has another command for what has changed"
    return None


def xvc(calls: list[Call], clock: AbstractContextManager[Any]) -> None:
    """``xvc file track`` of all paths at once. It only tracks in place: with ``copy``, the
    sources are copied into the workspace first, by the kernel where it can, and that counts.
    Its commits to Git are switched off, since no other side makes one.
    """
    from xvc import run_xvc

    if not Path(".xvc").exists():
        # In another process: one that began outside of a repository does not find it later.
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
