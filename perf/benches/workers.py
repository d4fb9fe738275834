"""How does the throughput grow with the number of workers?

    python -m perf workers

asynclive logs large files, gathered, and a directory of small ones, with 1, 2, 3, 4, 8 and 16
workers in turns. More workers than cores must not be slower than as many as cores.
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.ratios import spread
from perf.harness.standard_workloads import BY_NAME
from perf.harness.units import MIB
from perf.harness.workload import Side
from perf.harness.workload_run import WorkloadRuns, measure_in_turns, measure_once
from perf.sides.asynclive import log_gathered

COUNTS = {f"asynclive@{count}": count for count in (1, 2, 3, 4, 8, 16)}


class Workers(Bench):
    name = "workers"
    cases = ("big-8-copy", "dir-10k-copy")
    sides = tuple(COUNTS)
    short_scale = 0.25

    def space_bytes(self, args: Namespace, result: str) -> int:
        return 4 * max(BY_NAME[case].size(args.scale) for case in self.cases) + 512 * MIB

    def run(self, job: Job) -> dict[str, Any]:
        measured = [
            measure_in_turns(
                self.name, BY_NAME[case], self.sides, job.scale, job.pairs, job.work_dir
            )
            for case in self.cases
        ]
        return {
            "scale": job.scale,
            "pairs": job.pairs,
            "workloads": [_as_json(runs) for runs in measured],
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        side = given["side"]
        log = partial(log_gathered, workers=COUNTS[side])
        workload, sources = BY_NAME[given["workload"]], Path(given["sources"])
        return measure_once(Side(side, log), workload, sources, given["scale"])

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"{workload['title']}, MiB/s: "
            + ", ".join(
                f"{point['workers']} workers {point['mib_per_second']['median']:.0f}"
                for point in workload["points"]
                if point["mib_per_second"]
            )
            for workload in document["workloads"]
        )

    def failures(self, document: dict[str, Any]) -> list[str]:
        points = [point for workload in document["workloads"] for point in workload["points"]]
        return [point["failure"] for point in points if point["failure"]]


def _as_json(runs: WorkloadRuns) -> dict[str, Any]:
    size = runs.workload.size(runs.scale)
    return {
        "workload": runs.workload.name,
        "title": runs.workload.title,
        "bytes": size,
        "points": [_point(runs, side, size) for side in runs.runs],
    }


def _point(runs: WorkloadRuns, side: str, size: int) -> dict[str, Any]:
    seconds = runs.seconds(side)
    return {
        "workers": COUNTS[side],
        "seconds": spread(seconds) if seconds else None,
        "mib_per_second": spread([size / MIB / each for each in seconds]) if seconds else None,
        "failure": runs.failures.get(side),
    }


BENCH = Workers()
