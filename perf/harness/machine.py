"""The facts about a machine that its numbers depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def describe(work_dir: Path) -> dict[str, object]:
    """Return facts that the numbers depend on, and none that names the machine."""
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        "file_system": _file_system(work_dir),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **_versions("dvc", "dvclive", "asynclive", "xvc"),
    }


def _versions(*distributions: str) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _file_system(path: Path) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    device = path.stat().st_dev
    # The last mount on a point is the one in effect.
    for _, point, kind, *_ in reversed(mounts):
        try:
            if os.stat(point).st_dev == device:
                return kind
        except OSError:
            continue
    return "unknown"
