"""The workloads with goals: the benches ``workloads`` and ``workers`` log them.

To add a workload, append a ``Workload`` to ``WORKLOADS``; nothing else knows their names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from perf.harness.sources import Sources
from perf.harness.units import MIB
from perf.harness.workload import (
    Call,
    Changed,
    Goals,
    Workload,
    large_files,
    small_files,
    tiny_files,
)


def rewrite(calls: list[Call]) -> Changed:
    """Write other bytes into every file."""
    for call in calls:
        _rewrite(call.path)
    return Changed(files=len(calls))


def rewrite_one_percent(calls: list[Call]) -> Changed:
    """Write other bytes into every hundredth file of each directory, which changes its listing."""
    files = [
        path
        for call in calls
        for path in sorted(each for each in call.path.rglob("*") if each.is_file())[::100]
    ]
    for path in files:
        _rewrite(path)
    return Changed(files=len(files), listings=len(calls))


def _rewrite(path: Path) -> None:
    # One byte more, so that the size tells them apart and no clock has to. A new file, because the
    # old one may be write-protected.
    data = path.read_bytes() + os.urandom(1)
    path.unlink()
    path.write_bytes(data)


_directory = small_files(10_000)


def _mix(scale: float) -> list[Sources]:
    return [*_directory(scale), *large_files(4, 256)(scale), *tiny_files(50)(scale)]


# The source, the cache and the copy, and a third copy that DVCLive writes.
_DIRECTORY: dict[str, Any] = {"sources": _directory, "prewarm_bytes": 1024 * MIB}
_GIBS: dict[str, Any] = {"prewarm_bytes": 6 * 1024 * MIB}
_IN_PLACE = {"type": "dataset"}
_COPIED = {"type": "dataset", "copy": True}

WORKLOADS = [
    Workload(
        name="dir-10k-copy",
        title="10,000 files of 16 KiB in a directory, copy=True",
        options=_COPIED,
        goals=Goals(dvclive=2.5, floor=1.3),
        **_DIRECTORY,
    ),
    Workload(
        name="big-8-copy",
        title="8 files of 256 MiB, gathered, copy=True",
        sources=large_files(8, 256),
        options=_COPIED,
        goals=Goals(dvclive=3, floor=1.2),
        **_GIBS,
    ),
    Workload(
        name="tiny-200",
        title="200 files of 12 bytes, gathered",
        sources=tiny_files(200),
        options=_IN_PLACE,
        goals=Goals(dvclive=40),
    ),
    Workload(
        name="huge-1-copy",
        title="one file of 2 GiB, copy=True",
        sources=large_files(1, 2048),
        options=_COPIED,
        goals=Goals(dvclive=3, floor=1.15),
        **_GIBS,
    ),
    Workload(
        name="dir-10k",
        title="10,000 files of 16 KiB in a directory, in place",
        options=_IN_PLACE,
        goals=Goals(dvclive=2.5, floor=1.3),
        **_DIRECTORY,
    ),
    Workload(
        name="tiny-100-changed",
        title="100 known files of 12 bytes, changed, gathered",
        sources=tiny_files(100),
        options=_IN_PLACE,
        goals=Goals(dvclive=40),
        logged_before=True,
        change=rewrite,
    ),
    Workload(
        name="dir-10k-copy-again",
        title="the directory again, unchanged, copy=True",
        options=_COPIED,
        goals=Goals(dvclive=8),
        logged_before=True,
        **_DIRECTORY,
    ),
    Workload(
        name="dir-10k-again",
        title="the directory again, unchanged, in place",
        options=_IN_PLACE,
        goals=Goals(dvclive=1.5),
        logged_before=True,
        **_DIRECTORY,
    ),
    Workload(
        name="mix-copy",
        title="the directory, 4 x 256 MiB and 50 x 12 bytes, gathered, copy=True",
        sources=_mix,
        options=_COPIED,
        prewarm_bytes=4 * 1024 * MIB,
    ),
    Workload(
        name="big-8",
        title="8 files of 256 MiB, gathered, in place",
        sources=large_files(8, 256),
        options=_IN_PLACE,
        **_GIBS,
    ),
    Workload(
        name="dir-10k-changed",
        title="the directory again, 1 % of it changed, in place",
        options=_IN_PLACE,
        logged_before=True,
        change=rewrite_one_percent,
        **_DIRECTORY,
    ),
]

BY_NAME = {workload.name: workload for workload in WORKLOADS}
