"""What does ``import asynclive`` cost, next to ``import dvclive``?

    python -m perf import_time
    python -m perf import_time --against ../old/src

Each import is timed in a fresh process. The modules take turns. ``--against`` adds the asynclive of
another checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.child_process import asynclive_src, with_python_path
from perf.harness.turns import Run, spreads, take_turns

GOAL_SECONDS = 0.06
_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


class ImportTime(Bench):
    name = "import_time"
    sides = ("dvclive", "asynclive")
    pairs = 15
    in_short_suite = True
    can_compare = True

    def run(self, job: Job) -> dict[str, Any]:
        def run(side: str) -> Run:
            return {"seconds": _import_seconds(side, job.args.against)}

        # One more: the first of each reads the files from the disk.
        runs = take_turns(self.chosen_sides(job.args), job.pairs + 1, run, _describe)
        return {
            "goal_seconds": GOAL_SECONDS,
            "sides": {side: spreads(each[1:])["seconds"] for side, each in runs.items()},
        }

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"import {side:<10} {each['median'] * 1000:.0f} ms"
            for side, each in document["sides"].items()
        )


def _import_seconds(side: str, against: Path | None) -> float:
    environment = dict(os.environ)
    if src := asynclive_src(side, against):
        environment = with_python_path(environment, src)
    module = "asynclive" if side == "against" else side
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(module)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return float(done.stdout)


def _describe(side: str, run: Run) -> str:
    return f"{side:<10} {run['seconds'] * 1000:.0f} ms"


BENCH = ImportTime()
