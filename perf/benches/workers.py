"""Throughput over the number of workers: large files gathered, and a directory of small ones.

    python perf/workers.py

One asynclive after the other with 1, 2, 3, 4, 8 and 16 workers, in turns, as ``bench.py``
runs its sides. More workers than cores must not be slower than as many as cores.
"""

from __future__ import annotations

import sys

from perf.benches.workloads import measure
from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.results import spread
from perf.harness.standard_workloads import BY_NAME
from perf.harness.turns import MIN_PAIRS, WorkloadResult

BENCH = "workers"
COUNTS = (1, 2, 3, 4, 8, 16)
WORKLOADS = ("big-8-copy", "dir-10k-copy")
SHORT_SCALE = 0.25


def main() -> int:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="make the workloads smaller")
    args = options.parse(parser)
    scale = SHORT_SCALE if args.short else args.scale
    full = scale == 1 and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        measured = [
            measure(
                BY_NAME[name],
                [f"asynclive@{count}" for count in COUNTS],
                scale,
                args.pairs,
                work_dir,
            )
            for name in WORKLOADS
        ]
        payload = {
            "scale": scale,
            "pairs": args.pairs,
            "workloads": [_as_json(result) for result in measured],
        }
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return any(result.failed for result in measured)


def _as_json(result: WorkloadResult) -> dict[str, object]:
    size = sum(each.size for each in result.workload.sources(result.scale))
    return {
        "workload": result.workload.name,
        "title": result.workload.title,
        "bytes": size,
        "points": [
            {
                "workers": int(side.partition("@")[2]),
                "seconds": spread(series.seconds) if not series.failure else None,
                "mib_per_second": spread([size / 2**20 / each for each in series.seconds])
                if not series.failure
                else None,
                "failure": series.failure,
            }
            for side, series in result.series.items()
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
