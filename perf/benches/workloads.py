"""Times asynclive against DVCLive and against the bytes alone, on one machine, in one run.

    python perf/bench.py                              # every workload: most of an hour
    python perf/bench.py --workload big-8-copy --side asynclive --side floor
    python perf/bench.py --scale 0.02 --pairs 1       # does the bench itself work?

The sides of a workload take turns (A B C A B C ...), each run in a fresh process and a fresh
repository that is removed after it. Sources are in the page cache, and what the run before it
wrote is on disk, before a run starts. Opening the repository (the import of DVC) comes before
the clock for every side. Numbers are medians; ratios are made from three pairs or more.

Each workload has a result of its own, ``workload-<name>.json``, written when it is done: to
``perf/results`` from a full run, else to ``perf/results/short``. ``--resume`` skips those
that are there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import RunFailedError, fresh_repository
from perf.harness.sources import MIB, make, place
from perf.harness.standard_workloads import BY_NAME, Workload
from perf.harness.turns import MIN_PAIRS, Series, WorkloadResult
from perf.harness.work_dir import runs_dir
from perf.harness.workload_table import table
from perf.sides.asynclive import SIDES
from perf.sides.xvc import missing

# What a short run leaves out: what takes minutes, and says little that the others do not.
SHORT_SIDES = ("dvclive", "asynclive", "floor")
SHORT_WORKLOADS = {
    "tiny-200": 0.25,
    "dir-10k-copy": 1.0,
    "big-8-copy": 0.25,
    "huge-1-copy": 0.25,
    "dir-10k-copy-again": 0.25,
    "tiny-100-changed": 0.4,
}


def main() -> int:
    args = _parse_args()
    scales = SHORT_WORKLOADS if args.short else dict.fromkeys(BY_NAME, args.scale)
    sides = args.side or list(SHORT_SIDES if args.short else SIDES)
    full = not (args.short or args.side) and args.scale == 1 and args.pairs >= MIN_PAIRS
    failed = False
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        for name in args.workload or list(scales):
            bench = f"workload-{name}"
            if args.resume and options.there(bench, results.directory(full=full, out=args.out)):
                continue
            result = measure(BY_NAME[name], sides, scales.get(name, 1.0), args.pairs, work_dir)
            document = result.as_json()
            print(f"\n{table(document)}\n", flush=True)
            results.write(bench, document, work_dir, full=full, out=args.out)
            failed |= result.failed
    return failed


def measure(
    workload: Workload, sides: list[str], scale: float, pairs: int, work_dir: Path
) -> WorkloadResult:
    """Run the sides in turns, ``pairs`` times each."""
    print(f"\n{workload.name}: {workload.title}", flush=True)
    sources = workload.sources(scale)
    size = sum(source.size for source in sources)
    # The sources, and three times as much for what a side has on disk at its worst.
    options.need_space(work_dir, 4 * size + 512 * MIB, workload.name)
    made = make(sources, work_dir / "sources" / f"{workload.name}-{scale:g}", workload.name)
    series = {
        side: Series(side, skipped=missing(side, workload))
        for side in sides
        if side != "floor" or workload.has_floor
    }
    with runs_dir(work_dir) as where:
        for pair in range(1, pairs + 1):
            for one in series.values():
                if not one.ended:
                    run_once(workload, one, scale, made, where)
                    print(f"  {pair}/{pairs}  {one.side:<12} {_said(one)}", flush=True)
    return WorkloadResult(workload, scale, pairs, series)


def run_once(workload: Workload, series: Series, scale: float, made: Path, where: Path) -> None:
    with fresh_repository(where) as repository:
        sources = workload.sources(scale)
        here = place(sources, made, repository.path, in_place=workload.in_place)
        try:
            run = repository.run(
                "perf.harness.workload_run", series.side, workload.name, here, scale
            )
        except RunFailedError as error:
            series.failure = str(error)
        else:
            series.runs.append(run)


def _said(series: Series) -> str:
    return series.failure or (
        "{seconds:6.2f} s  (user {user_seconds:.2f}, system {system_seconds:.2f})"
    ).format(**series.runs[-1])


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument(
        "--workload",
        action="append",
        choices=list(BY_NAME),
        help="only this one; may be given again (default: all)",
    )
    parser.add_argument(
        "--side",
        action="append",
        choices=list(SIDES),
        help="only this one; may be given again (default: all that are installed)",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="make the workloads smaller, to try the bench"
    )
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
