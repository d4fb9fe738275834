"""How much faster than DVCLive is asynclive, and how close does it come to the bytes alone?

    python -m perf workloads                              # every workload: most of an hour
    python -m perf workloads --case big-8-copy --side asynclive --side floor
    python -m perf workloads --scale 0.02 --pairs 1       # does the bench itself work?
    python -m perf workloads --side asynclive --against ../old/src

The sides of a workload take turns, each run in a fresh process and a fresh repository, which is
removed after it. Sources are in the page cache, and the disk has everything that the run before
wrote. Every side opens the repository, which imports DVC, before the clock starts.

``--against`` adds a side of that name: the asynclive of another checkout, in the same turns.

Each workload has a result file of its own, ``workload-<name>.json``, written when it is done.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.standard_workloads import BY_NAME
from perf.harness.units import MIB
from perf.harness.workload_run import measure_in_turns, measure_once
from perf.harness.workload_table import table
from perf.sides.asynclive import ASYNCLIVE
from perf.sides.dvclive import DVCLIVE, NAIVE
from perf.sides.floor import FLOOR
from perf.sides.xvc import XVC

SIDES = {side.name: side for side in (DVCLIVE, NAIVE, ASYNCLIVE, FLOOR, XVC)}
# A short run leaves out the workloads that take minutes and say little that the others do not.
SHORT_SIDES = ("dvclive", "asynclive", "floor")
SHORT_SCALES = {
    "tiny-200": 0.25,
    "dir-10k-copy": 1.0,
    "big-8-copy": 0.25,
    "huge-1-copy": 0.25,
    "dir-10k-copy-again": 0.25,
    "tiny-100-changed": 0.4,
}
PREFIX = "workload-"


class Workloads(Bench):
    name = "workloads"
    cases = tuple(BY_NAME)
    sides = tuple(SIDES)
    short_scale = 1.0  # by workload, see SHORT_SCALES
    in_short_suite = True
    can_choose_cases = True
    can_choose_sides = True
    can_compare = True

    def results(self, args: Namespace) -> list[str]:
        chosen = args.case or (SHORT_SCALES if args.short else self.cases)
        return [f"{PREFIX}{case}" for case in chosen]

    def space_bytes(self, args: Namespace, result: str) -> int:
        # The sources, and three times as much for what a side has on disk at its worst.
        workload = BY_NAME[result.removeprefix(PREFIX)]
        return 4 * workload.size(_scale(args, workload.name)) + 512 * MIB

    def run(self, job: Job) -> dict[str, Any]:
        workload = BY_NAME[job.result.removeprefix(PREFIX)]
        sides = self.chosen_sides(job.args)
        if job.args.short and not job.args.side:
            sides = [side for side in sides if side in (*SHORT_SIDES, "against")]
        if not workload.has_floor:
            sides = [side for side in sides if side != "floor"]
        return measure_in_turns(
            self.name,
            workload,
            sides,
            _scale(job.args, workload.name),
            job.pairs,
            job.work_dir,
            skipped={side: SIDES[side].missing(workload) for side in sides if side in SIDES},
            against=job.args.against,
        ).as_json()

    def measure(self, **given: Any) -> dict[str, Any]:
        workload = BY_NAME[given["workload"]]
        side = SIDES[given["side"]]
        return measure_once(side, workload, Path(given["sources"]), given["scale"])

    def summary(self, document: dict[str, Any]) -> str:
        return table(document)

    def failures(self, document: dict[str, Any]) -> list[str]:
        return [side for side, each in document["sides"].items() if each["failure"]]


def _scale(args: Namespace, workload: str) -> float:
    scale: float = SHORT_SCALES.get(workload, 1.0) if args.short else args.scale
    return scale


BENCH = Workloads()
