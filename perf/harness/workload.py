"""A workload: which artifacts are logged, how, what happens before the clock, and the goals."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perf.harness.sources import Sources
from perf.harness.units import KIB, MIB

Clock = AbstractContextManager[Any]


@dataclass(frozen=True)
class Call:
    """One call of ``log_artifact``."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """The numbers of changed files and directory listings: each makes a new cache object."""

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
    """Returns what to log at a scale; 1.0 is the workload, less is for trying the bench."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of every call, in addition to ``name``."""
    goals: Goals = Goals()
    logged_before: bool = False
    """Log everything once before the clock starts, in the same way, with another object."""
    change: Callable[[list[Call]], Changed] | None = None
    """With ``logged_before``: changes the sources in between."""
    prewarm_bytes: int = 256 * MIB
    """Memory to touch before the clock starts: as much as the hungriest side fills, page cache
    included."""

    @property
    def in_place(self) -> bool:
        return not self.options.get("copy")

    @property
    def has_floor(self) -> bool:
        """Whether the time to move the bytes alone means anything."""
        return not self.logged_before and self.size(1.0) >= MIB

    def size(self, scale: float) -> int:
        """Return the bytes of all sources."""
        return sum(each.size for each in self.sources(scale))

    def calls(self, where: Path, scale: float) -> list[Call]:
        return [
            Call(where / source.name, {"name": Path(source.name).stem, **self.options})
            for source in self.sources(scale)
        ]


@dataclass(frozen=True)
class Side:
    """A way to log a workload.

    A side opens its files, then does its work inside ``with clock``. The measured time goes
    from the first call to the point where everything is on disk as that side leaves it.
    """

    name: str
    log: Callable[[list[Call], Clock], dict[str, Any] | None]
    """Makes the calls; returns numbers of its own to keep, or None."""
    is_dvc: bool = True
    """Whether it leaves ``.dvc`` files, entries in dvc.yaml and listings of directories."""
    cache: str = ".dvc/cache/files/md5"
    missing: Callable[[Workload], str | None] = lambda workload: None
    """Returns why the side cannot run a workload on this machine; None if it can."""


def scaled(count: int, scale: float) -> int:
    """Return ``count`` at a scale, and at least 1."""
    return max(1, round(count * scale))


def tiny_files(count: int) -> Callable[[float], list[Sources]]:
    """Return the sources of ``count`` artifacts of 12 bytes."""
    return lambda scale: [
        Sources(f"artifact-{index:04}.bin", 12) for index in range(scaled(count, scale))
    ]


def large_files(count: int, mib: int) -> Callable[[float], list[Sources]]:
    """Return the sources of ``count`` files of ``mib`` MiB; a scale makes the files smaller."""
    return lambda scale: [
        Sources(f"checkpoint-{index}.pt", scaled(mib * MIB, scale)) for index in range(count)
    ]


def small_files(count: int) -> Callable[[float], list[Sources]]:
    """Return the sources of one directory of ``count`` files of 16 KiB."""
    return lambda scale: [Sources("dataset", 16 * KIB, scaled(count, scale), isdir=True)]
