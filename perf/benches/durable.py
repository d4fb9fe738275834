"""What it costs to wait for the disk: ``AsyncLive(durable=True)`` beside the default.

    python perf/durable.py                            # full size
    python perf/durable.py --short                    # a tenth of it

The settings take turns, each run in a fresh process and a fresh repository; what was written
before a run is on the disk when it starts. The clock stops when the calls have returned, so that
the default's share of the disk's work comes after it, and the other's within.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import RunFailedError
from perf.harness.sources import KIB, MIB, Sources
from perf.harness.standard_workloads import Workload
from perf.harness.turns import MIN_PAIRS, of_case, times
from perf.harness.workload_run import PrewarmedClock
from perf.sides.asynclive import asynclive

BENCH = "durable"
SETTINGS = ("default", "durable")
SHORT_SCALE = 0.1


def _count(n: int, scale: float) -> int:
    return max(1, round(n * scale))


CASES = {
    case.name: case
    for case in (
        Workload(
            name="tiny-200",
            title="200 files of 12 bytes, gathered",
            sources=lambda scale: [
                Sources(f"artifact-{index:04}.bin", 12) for index in range(_count(200, scale))
            ],
            options={"type": "dataset"},
        ),
        Workload(
            name="large-1-copy",
            title="one file of 256 MiB, copy=True",
            sources=lambda scale: [Sources("checkpoint.pt", _count(256 * MIB, scale))],
            options={"type": "model", "copy": True},
            prewarm_bytes=768 * MIB,
        ),
        Workload(
            name="dir-2k",
            title="2,000 files of 16 KiB in a directory, in place",
            sources=lambda scale: [Sources("dataset", 16 * KIB, _count(2_000, scale), isdir=True)],
            options={"type": "dataset"},
        ),
    )
}


def main() -> int:
    args = _parse_args()
    if args.run:
        print(json.dumps(_run(args.run, CASES[args.case], args.sources, args.scale)))
        return 0
    scale = SHORT_SCALE if args.short else args.scale
    full = scale == 1 and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        try:
            cases = [_measure(case, scale, args.pairs, work_dir) for case in CASES.values()]
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 1
        payload = {"scale": scale, "pairs": args.pairs, "cases": cases}
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _measure(case: Workload, scale: float, pairs: int, work_dir: Path) -> dict[str, Any]:
    print(f"\n{case.title}", flush=True)
    sources = case.sources(scale)
    options.need_space(work_dir, 4 * sum(each.size for each in sources) + 64 * MIB, BENCH)
    runs = of_case("perf.benches.durable", case, scale, pairs, SETTINGS, work_dir, _said)
    seconds = {setting: [one["seconds"] for one in each] for setting, each in runs.items()}
    return {
        "case": case.name,
        "title": case.title,
        "settings": {setting: results.spread(each) for setting, each in seconds.items()},
        "ratio": times(seconds["durable"], seconds["default"]),
    }


def _said(setting: str, one: dict[str, Any]) -> str:
    return f"{setting:<8} {one['seconds']:6.3f} s"


def _run(setting: str, case: Workload, where: Path, scale: float) -> dict[str, float]:
    clock = PrewarmedClock(int(case.prewarm_bytes * min(1.0, scale)))
    log = partial(asynclive, durable=setting == "durable")
    log(case.calls(where, scale), clock)
    return {"seconds": clock.seconds}


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="less, to try the bench")
    parser.add_argument("--run", choices=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
