"""The seeded files and directories that are logged, and how they are made and put in place."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from perf.harness.units import MIB

_BLOCK_BYTES = 8 * MIB  # random data is made in blocks, to bound the memory
# Far in the past. A logger must doubt that a file is unchanged if it was written within the
# resolution of the file system's clock.
_MTIME = 1_700_000_000


@dataclass(frozen=True)
class Sources:
    """The source of one call: a file, or a directory of ``nfiles`` files of ``file_bytes``."""

    name: str
    file_bytes: int
    nfiles: int = 1
    isdir: bool = False

    @property
    def size(self) -> int:
        return self.nfiles * self.file_bytes

    @property
    def objects(self) -> int:
        """How many cache objects DVC makes of it."""
        return self.nfiles + self.isdir


def make(sources: list[Sources], where: Path, seed: str) -> Path:
    """Make the sources in ``where``, unless they are there already; return ``where``."""
    complete = where / ".complete"
    if complete.exists():
        return where
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    rng = random.Random(seed)
    for source in sources:
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
    os.utime(path, (_MTIME, _MTIME))


def place(sources: list[Sources], made: Path, repo: Path, *, in_place: bool) -> Path:
    """Bring the sources into the page cache, and return the directory to log them from.

    In place, they are copied into the repository. Otherwise they are read where they are.
    """
    if in_place:
        for source in sources:
            if source.isdir:
                shutil.copytree(made / source.name, repo / source.name)
            else:
                shutil.copy2(made / source.name, repo / source.name)
        return repo
    buffer = bytearray(MIB)
    for folder, _, names in os.walk(made):
        for name in names:
            with open(os.path.join(folder, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
    return made
