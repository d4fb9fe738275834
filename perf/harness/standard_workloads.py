"""What is logged in a bench: the calls, what happened before them, and the goals.

To add a workload, append a ``Workload`` to ``WORKLOADS``; nothing else knows their names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perf.harness.sources import KIB, MIB, Sources


@dataclass(frozen=True)
class Call:
    """One call of ``log_artifact``."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """How many files, and listings of directories, were changed: as many new cache objects."""

    files: int = 0
    listings: int = 0

    @property
    def objects(self) -> int:
        return self.files + self.listings


@dataclass(frozen=True)
class Goals:
    """What asynclive has to reach on 2 cores."""

    dvclive: float | None = None
    """How many times faster than DVCLive, at least."""
    floor: float | None = None
    """How many times the floor, at most."""


@dataclass(frozen=True)
class Workload:
    """Artifacts, how they are logged, and what happens before the clock starts."""

    name: str
    title: str
    sources: Callable[[float], list[Sources]]
    """What to log at a scale; 1.0 is the workload, less is for trying out the bench."""
    options: dict[str, Any] = field(default_factory=dict)
    """Passed to every call, besides ``name``."""
    goals: Goals = Goals()
    logged_before: bool = False
    """Log everything once before the clock starts, in the same way, with another object."""
    change: Callable[[list[Call]], Changed] | None = None
    """With ``logged_before``: what happens to the sources in between."""
    prewarm_bytes: int = 256 * MIB
    """Memory to touch before the clock starts: what the hungriest side fills, page cache too."""

    @property
    def in_place(self) -> bool:
        return not self.options.get("copy")

    @property
    def has_floor(self) -> bool:
        """Whether moving the bytes alone says anything about it."""
        return not self.logged_before and sum(each.size for each in self.sources(1.0)) >= MIB

    def calls(self, where: Path, scale: float) -> list[Call]:
        return [
            Call(where / source.name, {"name": Path(source.name).stem, **self.options})
            for source in self.sources(scale)
        ]


def rewrite(calls: list[Call]) -> Changed:
    """Other bytes in every file."""
    for call in calls:
        _rewrite(call.path)
    return Changed(files=len(calls))


def rewrite_one_percent(calls: list[Call]) -> Changed:
    """Other bytes in every hundredth file of each directory, whose listing changes with them."""
    files = [
        path
        for call in calls
        for path in sorted(each for each in call.path.rglob("*") if each.is_file())[::100]
    ]
    for path in files:
        _rewrite(path)
    return Changed(files=len(files), listings=len(calls))


def _rewrite(path: Path) -> None:
    # More bytes, so that no clock has to tell; a new file, since the old may be protected.
    data = path.read_bytes() + os.urandom(1)
    path.unlink()
    path.write_bytes(data)


def _count(n: int, scale: float) -> int:
    return max(1, round(n * scale))


def _tiny(n: int) -> Callable[[float], list[Sources]]:
    return lambda scale: [
        Sources(f"artifact-{index:04}.bin", 12) for index in range(_count(n, scale))
    ]


def _large(n: int, mib: int) -> Callable[[float], list[Sources]]:
    return lambda scale: [
        Sources(f"checkpoint-{index}.pt", _count(mib * MIB, scale)) for index in range(n)
    ]


def _directory(scale: float) -> list[Sources]:
    return [Sources("dataset", 16 * KIB, _count(10_000, scale), isdir=True)]


def _mix(scale: float) -> list[Sources]:
    return [*_directory(scale), *_large(4, 256)(scale), *_tiny(50)(scale)]


# The source, the cache and the copy, and what DVCLive writes a third time.
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
        sources=_large(8, 256),
        options=_COPIED,
        goals=Goals(dvclive=3, floor=1.2),
        **_GIBS,
    ),
    Workload(
        name="tiny-200",
        title="200 files of 12 bytes, gathered",
        sources=_tiny(200),
        options=_IN_PLACE,
        goals=Goals(dvclive=40),
    ),
    Workload(
        name="huge-1-copy",
        title="one file of 2 GiB, copy=True",
        sources=_large(1, 2048),
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
        sources=_tiny(100),
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
        sources=_large(8, 256),
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
