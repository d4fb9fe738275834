"""What does it cost to wait for the disk, with ``AsyncLive(durable=True)``?

    python -m perf durable                            # full size
    python -m perf durable --short                    # a tenth of it

The settings take turns, each run in a fresh process and a fresh repository. The disk has everything
that was written before a run. The clock stops when the calls have returned. The disk's work for
``durable=True`` is within that time; for the default it comes later.
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.clock import PrewarmedClock
from perf.harness.ratios import ratio, spread
from perf.harness.turns import Run
from perf.harness.units import MIB
from perf.harness.workload import Workload, large_files, small_files, tiny_files
from perf.harness.workload_case import measure_case
from perf.sides.asynclive import log_gathered

CASES = {
    case.name: case
    for case in (
        Workload(
            name="tiny-200",
            title="200 files of 12 bytes, gathered",
            sources=tiny_files(200),
            options={"type": "dataset"},
        ),
        Workload(
            name="large-1-copy",
            title="one file of 256 MiB, copy=True",
            sources=large_files(1, 256),
            options={"type": "model", "copy": True},
            prewarm_bytes=768 * MIB,
        ),
        Workload(
            name="dir-2k",
            title="2,000 files of 16 KiB in a directory, in place",
            sources=small_files(2_000),
            options={"type": "dataset"},
        ),
    )
}


class Durable(Bench):
    name = "durable"
    cases = tuple(CASES)
    sides = ("default", "durable")
    short_scale = 0.1

    def space_bytes(self, args: Namespace, result: str) -> int:
        return 4 * max(case.size(args.scale) for case in CASES.values()) + 64 * MIB

    def run(self, job: Job) -> dict[str, Any]:
        cases = [self._measure_case(case, job) for case in CASES.values()]
        return {"scale": job.scale, "pairs": job.pairs, "cases": cases}

    def _measure_case(self, case: Workload, job: Job) -> dict[str, Any]:
        runs = measure_case(
            self.name, case, job.scale, job.pairs, self.sides, job.work_dir, _describe
        )
        seconds = {setting: [run["seconds"] for run in each] for setting, each in runs.items()}
        return {
            "case": case.name,
            "title": case.title,
            "settings": {setting: spread(each) for setting, each in seconds.items()},
            "ratio": ratio(seconds["durable"], seconds["default"]),
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        case, scale = CASES[given["case"]], given["scale"]
        clock = PrewarmedClock(int(case.prewarm_bytes * min(1.0, scale)))
        log = partial(log_gathered, durable=given["side"] == "durable")
        log(case.calls(Path(given["sources"]), scale), clock)
        return {"seconds": clock.seconds}

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"{case['title']}: {case['ratio']['median']:.2f} times as long with durable=True"
            for case in document["cases"]
            if case["ratio"]
        )


def _describe(setting: str, run: Run) -> str:
    return f"{setting:<8} {run['seconds']:6.3f} s"


BENCH = Durable()
