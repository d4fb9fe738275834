"""What is logged in a bench: seeded sources, and the calls made on them.

To add a workload, append a ``Workload`` to ``WORKLOADS``; nothing else knows their names.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KIB = 1024
MIB = 1024 * KIB

_BLOCK_BYTES = 8 * MIB  # random data is made in blocks: bounds the memory it takes


@dataclass(frozen=True)
class Call:
    """One call of ``log_artifact``."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """What one call logs: a file, or a directory of ``nfiles`` files of ``file_bytes``."""

    name: str
    file_bytes: int
    nfiles: int = 1
    isdir: bool = False

    @property
    def size(self) -> int:
        return self.nfiles * self.file_bytes

    @property
    def objects(self) -> int:
        """How many cache objects it becomes."""
        return self.nfiles + self.isdir


@dataclass(frozen=True)
class Workload:
    """Artifacts, how they are logged, and what happens before the clock starts."""

    name: str
    title: str
    sources: Callable[[float], list[Sources]]
    """What to log at a scale; 1.0 is the workload, less is for trying out the bench."""
    options: dict[str, Any] = field(default_factory=dict)
    """Passed to every call, besides ``name``."""
    logged_before: bool = False
    """Log everything once before the clock starts."""
    change: Callable[[list[Call]], None] | None = None
    """With ``logged_before``: what happens to the sources in between."""
    has_floor: bool = True
    """Whether moving the bytes alone says anything about it."""
    prewarm_bytes: int = 256 * MIB
    """Memory to touch before the clock starts: what the hungriest side fills, page cache too."""

    @property
    def in_place(self) -> bool:
        return not self.options.get("copy")

    def calls(self, where: Path, scale: float) -> list[Call]:
        return [
            Call(where / source.name, {"name": Path(source.name).stem, **self.options})
            for source in self.sources(scale)
        ]


def make_sources(workload: Workload, scale: float, base: Path) -> Path:
    """Return the directory of the workload's sources; made once, then reused."""
    where = base / f"{workload.name}-{scale:g}"
    complete = where / ".complete"
    if complete.exists():
        return where
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    rng = random.Random(workload.name)
    for source in workload.sources(scale):
        if source.isdir:
            for index in range(source.nfiles):
                path = where / source.name / f"{index // 100:03}" / f"{index:05}.bin"
                if index % 100 == 0:
                    path.parent.mkdir(parents=True)
                _write_random(path, source.file_bytes, rng)
        else:
            _write_random(where / source.name, source.file_bytes, rng)
    complete.touch()
    return where


def _write_random(path: Path, size: int, rng: random.Random) -> None:
    with path.open("wb") as file:
        while size > 0:
            file.write(rng.randbytes(min(size, _BLOCK_BYTES)))
            size -= _BLOCK_BYTES


def place_sources(workload: Workload, scale: float, made: Path, repo: Path) -> Path:
    """Bring the sources where they get logged from, into the page cache. Returns that place."""
    if workload.in_place:
        for source in workload.sources(scale):
            if source.isdir:
                shutil.copytree(made / source.name, repo / source.name)
            else:
                shutil.copyfile(made / source.name, repo / source.name)
        return repo
    buffer = bytearray(MIB)
    for folder, _, names in os.walk(made):
        for name in names:
            with open(os.path.join(folder, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
    return made


def _count(n: int, scale: float) -> int:
    return max(1, round(n * scale))


WORKLOADS = [
    Workload(
        name="small-200",
        title="200 artifacts of 12 bytes, gathered",
        sources=lambda scale: [
            Sources(f"artifact-{index:04}.bin", 12) for index in range(_count(200, scale))
        ],
        options={"type": "model"},
        has_floor=False,
    ),
    Workload(
        name="dir-10k",
        title="a directory of 10,000 files of 16 KiB, copy=True",
        sources=lambda scale: [Sources("dataset", 16 * KIB, _count(10_000, scale), isdir=True)],
        options={"type": "dataset", "copy": True},
        # The source, the cache and the copy, and what dvclive writes a third time.
        prewarm_bytes=1024 * MIB,
    ),
    Workload(
        name="big-8",
        title="8 artifacts of 256 MiB, gathered, copy=True",
        sources=lambda scale: [
            Sources(f"checkpoint-{index}.pt", _count(256 * MIB, scale)) for index in range(8)
        ],
        options={"type": "model", "copy": True},
        prewarm_bytes=6 * 1024 * MIB,
    ),
]
