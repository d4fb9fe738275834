"""What one artifact costs over the number that is tracked already, from 10 to 5,000.

    python perf/scaling.py

Tiny artifacts, so that the bytes are no part of it. In each repository so many are tracked
first, by one gathered logging, which is not timed. Then, through another object in the same
process: a known one that changed (``first``: what the object has to read once is part of it),
then more of them, one by one and gathered; new ones, one by one and gathered.
``log_artifact`` alone is timed, from call to return. DVCLive, where its time allows, logs a
handful one by one, and its writing of dvc.yaml is not counted, although asynclive's is. The
same once more beside 100,000 untracked files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import Repository, RunFailedError
from perf.harness.results import spread
from perf.harness.turns import MIN_PAIRS, in_turn
from perf.sides.asynclive import open_dvclive

BENCH = "scaling"
GOAL = {"tracked": 5000, "against": 200, "times": 1.3}
# (side, tracked, untracked files)
POINTS = [
    *(("asynclive", tracked, 0) for tracked in (10, 200, 1000, 5000)),
    *(("dvclive", tracked, 0) for tracked in (10, 100, 200, 400)),
    ("asynclive", 200, 100_000),
    ("dvclive", 200, 100_000),
]
SHORT_POINTS = [
    *(("asynclive", tracked, 0) for tracked in (10, 200, 1000)),
    *(("dvclive", tracked, 0) for tracked in (10, 100)),
]
ONE_BY_ONE = {"asynclive": 10, "dvclive": 3}
GATHERED = 100


def main() -> int:
    args = _parse_args()
    if args.run:
        side, tracked, untracked = args.run
        print(json.dumps(run(side, int(tracked), int(untracked))))
        return 0
    points = SHORT_POINTS if args.short else POINTS
    if args.most is not None:
        points = [point for point in points if max(point[1:]) <= args.most]
    full = not args.short and args.most is None and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        try:
            runs = in_turn(work_dir, points, args.pairs, _run_in, _said)
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 1
        payload = {
            "pairs": args.pairs,
            "goal": GOAL,
            "points": [
                {
                    "side": side,
                    "tracked": tracked,
                    "untracked": untracked,
                    "seconds": {what: spread([one[what] for one in each]) for what in each[0]},
                }
                for (side, tracked, untracked), each in runs.items()
            ],
        }
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _run_in(repository: Repository, point: tuple[str, int, int]) -> dict[str, Any]:
    return repository.run("perf.benches.scaling", "--run", *point)


def run(side: str, tracked: int, untracked: int) -> dict[str, float]:
    """Seconds for one artifact, by what it is and how it is logged, in the working directory."""
    for folder in range(untracked // 1000):
        directory = Path("untracked", f"{folder:03}")
        directory.mkdir(parents=True)
        for index in range(1000):
            (directory / f"{index}.txt").touch()
    known = _make("known", tracked)
    asyncio.run(_asynclive([known]))
    count = ONE_BY_ONE[side]
    first, *changed = known[: 1 + count]
    new = _make("new", count)
    many_changed = known[1 + count :][:GATHERED] or known
    many_new = _make("more", GATHERED)
    for path in {first, *changed, *many_changed}:
        path.unlink()  # it may be write-protected
        path.write_bytes(os.urandom(24))
    if side == "dvclive":
        live = open_dvclive()
        seconds = []
        for path in (first, *changed, *new):
            start = perf_counter()
            live.log_artifact(path, **_options(path))
            seconds.append(perf_counter() - start)
        live.end()
        return {
            "first": seconds[0],
            "known_one_by_one": median(seconds[1 : 1 + len(changed)]),
            "new_one_by_one": median(seconds[1 + len(changed) :]),
        }
    groups = [*([path] for path in (first, *changed, *new)), many_changed, many_new]
    seconds = asyncio.run(_asynclive(groups))
    return {
        "first": seconds[0],
        "known_one_by_one": median(seconds[1 : 1 + len(changed)]),
        "new_one_by_one": median(seconds[1 + len(changed) : -2]),
        "known_gathered": seconds[-2] / len(many_changed),
        "new_gathered": seconds[-1] / len(many_new),
    }


async def _asynclive(groups: list[list[Path]]) -> list[float]:
    """Log the groups one after the other, each gathered; the seconds each of them took."""
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
    """Files of 16 random bytes, 100 a directory."""
    paths = []
    for index in range(count):
        path = Path("artifacts", f"{index // 100:03}", f"{stem}-{index:05}.bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(16))
        paths.append(path)
    return paths


def _said(point: tuple[str, int, int], one: dict[str, float]) -> str:
    side, tracked, untracked = point
    beside = f" beside {untracked:,} untracked" if untracked else ""
    costs = "  ".join(
        f"{what.replace('_', ' ')} {seconds * 1000:.1f} ms" for what, seconds in one.items()
    )
    return f"{side:<10} {tracked:>5}{beside}  {costs}"


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--most", type=int, help="leave out larger numbers, to try the bench")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
