"""What does one artifact cost when 10 to 5,000 are tracked already?

    python -m perf scaling

The artifacts are tiny, so that the bytes cost nothing. In each repository a number of them is
tracked first, in one gathered logging without a clock. Then another object in the same process
logs a known artifact that changed: ``first``, which includes everything that the object reads once.
It then logs more known and new ones, one by one and gathered. ``log_artifact`` alone is timed, from
call to return.

DVCLive logs a handful one by one, and only where few are tracked, because of the time it takes. The
time to write dvc.yaml counts for asynclive, and not for DVCLive. Two more points have 100,000
untracked files in the repository.
"""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.repository import Repository
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.sides.dvclive import open_dvclive

GOAL = {"tracked": 5000, "against": 200, "times": 1.3}
Point = tuple[str, int, int]
"""A side, the number of tracked artifacts, the number of untracked files."""
POINTS: list[Point] = [
    *(("asynclive", tracked, 0) for tracked in (10, 200, 1000, 5000)),
    *(("dvclive", tracked, 0) for tracked in (10, 100, 200, 400)),
    ("asynclive", 200, 100_000),
    ("dvclive", 200, 100_000),
]
SHORT_POINTS: list[Point] = [
    *(("asynclive", tracked, 0) for tracked in (10, 200, 1000)),
    *(("dvclive", tracked, 0) for tracked in (10, 100)),
]
ONE_BY_ONE = {"asynclive": 10, "dvclive": 3}
GATHERED = 100


class Scaling(Bench):
    name = "scaling"
    cases = tuple(f"{tracked} tracked" for tracked in (10, 100, 200, 400, 1000, 5000))
    sides = tuple(ONE_BY_ONE)
    in_short_suite = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--most", type=int, help="leave out larger numbers, to try the bench")

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and args.most is None

    def run(self, job: Job) -> dict[str, Any]:
        points = SHORT_POINTS if job.args.short else POINTS
        if job.args.most is not None:
            points = [point for point in points if max(point[1:]) <= job.args.most]
        runs = take_turns_in_repositories(
            job.work_dir, points, job.pairs, self._run_point, _describe
        )
        return {
            "pairs": job.pairs,
            "goal": GOAL,
            "points": [
                {
                    "side": side,
                    "tracked": tracked,
                    "untracked": untracked,
                    "seconds": spreads(each),
                }
                for (side, tracked, untracked), each in runs.items()
            ],
        }

    def _run_point(self, repository: Repository, point: Point) -> Run:
        side, tracked, untracked = point
        return repository.run(self.name, side=side, tracked=tracked, untracked=untracked)

    def measure(self, **given: Any) -> dict[str, Any]:
        return _measure(given["side"], given["tracked"], given["untracked"])


def _measure(side: str, tracked: int, untracked: int) -> dict[str, float]:
    """Return the seconds for one artifact, by its kind and the way it is logged."""
    for folder in range(untracked // 1000):
        directory = Path("untracked", f"{folder:03}")
        directory.mkdir(parents=True)
        for index in range(1000):
            (directory / f"{index}.txt").touch()
    known = _make("known", tracked)
    asyncio.run(_log_groups([known]))
    count = ONE_BY_ONE[side]
    first, *changed = known[: 1 + count]
    new = _make("new", count)
    many_changed = known[1 + count :][:GATHERED] or known
    many_new = _make("more", GATHERED)
    for path in {first, *changed, *many_changed}:
        path.unlink()  # it may be write-protected
        path.write_bytes(os.urandom(24))
    if side == "dvclive":
        seconds = _log_with_dvclive([first, *changed, *new])
        return {
            "first": seconds[0],
            "known_one_by_one": median(seconds[1 : 1 + len(changed)]),
            "new_one_by_one": median(seconds[1 + len(changed) :]),
        }
    groups = [*([path] for path in (first, *changed, *new)), many_changed, many_new]
    seconds = asyncio.run(_log_groups(groups))
    return {
        "first": seconds[0],
        "known_one_by_one": median(seconds[1 : 1 + len(changed)]),
        "new_one_by_one": median(seconds[1 + len(changed) : -2]),
        "known_gathered": seconds[-2] / len(many_changed),
        "new_gathered": seconds[-1] / len(many_new),
    }


def _log_with_dvclive(paths: list[Path]) -> list[float]:
    """Log one after the other; return the seconds of each call."""
    live = open_dvclive()
    seconds = []
    for path in paths:
        start = perf_counter()
        live.log_artifact(path, **_options(path))
        seconds.append(perf_counter() - start)
    live.end()
    return seconds


async def _log_groups(groups: list[list[Path]]) -> list[float]:
    """Log the groups one after the other, each gathered; return the seconds of each group."""
    from asynclive import AsyncLive

    seconds = []
    async with AsyncLive() as live:
        for group in groups:
            start = perf_counter()
            await asyncio.gather(*(live.log_artifact(path, **_options(path)) for path in group))
            seconds.append(perf_counter() - start)
    return seconds


def _options(path: Path) -> dict[str, Any]:
    return {"name": path.stem, "type": "model"}


def _make(stem: str, count: int) -> list[Path]:
    """Make files of 16 random bytes, 100 a directory."""
    paths = []
    for index in range(count):
        path = Path("artifacts", f"{index // 100:03}", f"{stem}-{index:05}.bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(16))
        paths.append(path)
    return paths


def _describe(point: Point, run: Run) -> str:
    side, tracked, untracked = point
    extra = f" and {untracked:,} untracked" if untracked else ""
    costs = "  ".join(
        f"{what.replace('_', ' ')} {seconds * 1000:.1f} ms" for what, seconds in run.items()
    )
    return f"{side:<10} {tracked:>5}{extra}  {costs}"


BENCH = Scaling()
