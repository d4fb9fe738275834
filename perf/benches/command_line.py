"""How long do ``asynclive log`` and ``dvc add`` take for 20 files?

    python -m perf command_line

The time goes from the start of the first command to the end of the last one, imports included: a
user waits for that at a terminal. ``dvc add`` runs once for each file, or once for all. The sides
take turns, each in a fresh repository, where no file, or a hundred others, are tracked.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.ratios import spread
from perf.harness.repository import Repository
from perf.harness.turns import Run, take_turns_in_repositories
from perf.sides.dvc_add import asynclive_log, dvc_add, execute

FILES = 20
FILE_BYTES = 16 * 1024
TRACKED = (0, 100)
SHORT_TRACKED = (0,)
OURS = "asynclive log"
SIDES = {
    "dvc add, 20 times": lambda names: [dvc_add([name]) for name in names],
    "dvc add, once": lambda names: [dvc_add(names)],
    OURS: lambda names: [asynclive_log(names)],
}
Point = tuple[int, str]
"""The number of files tracked before, and a side."""


class CommandLine(Bench):
    name = "command_line"
    cases = tuple(f"{count} tracked before" for count in TRACKED)
    sides = tuple(SIDES)

    def run(self, job: Job) -> dict[str, Any]:
        counts = SHORT_TRACKED if job.args.short else TRACKED
        points = [(tracked, side) for tracked in counts for side in SIDES]
        runs = take_turns_in_repositories(job.work_dir, points, job.pairs, _run, _describe)
        return {
            "pairs": job.pairs,
            "files": FILES,
            "file_bytes": FILE_BYTES,
            "points": [
                {
                    "tracked": tracked,
                    "side": side,
                    "seconds": spread([run["seconds"] for run in each]),
                }
                for (tracked, side), each in runs.items()
            ],
        }

    def summary(self, document: dict[str, Any]) -> str:
        seconds = {
            (point["tracked"], point["side"]): median(point["seconds"]["runs"])
            for point in document["points"]
        }
        return "\n".join(
            f"{tracked:>4} tracked: {each / seconds[tracked, OURS]:.1f} times as fast as {side}"
            for (tracked, side), each in seconds.items()
            if side != OURS
        )


def _run(repository: Repository, point: Point) -> Run:
    """Return the seconds until all files are tracked."""
    tracked, side = point
    if tracked:
        execute(repository, asynclive_log(_make(repository.path, "before", tracked)))
    names = _make(repository.path, "file", FILES)
    os.sync()
    start = perf_counter()
    for command in SIDES[side](names):
        execute(repository, command)
    seconds = perf_counter() - start
    found = len(list(repository.path.glob("*.bin.dvc")))
    if found != FILES + tracked:
        raise SystemExit(f"{side}: {found} .dvc files, not {FILES + tracked}")
    return {"seconds": seconds}


def _make(directory: Path, stem: str, count: int) -> list[str]:
    names = [f"{stem}-{number:03}.bin" for number in range(count)]
    for name in names:
        (directory / name).write_bytes(os.urandom(FILE_BYTES))
    return names


def _describe(point: Point, run: Run) -> str:
    tracked, side = point
    return f"{tracked:>4} tracked  {side:<18} {run['seconds']:.2f} s"


BENCH = CommandLine()
