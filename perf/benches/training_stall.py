"""How long does a training loop wait while its checkpoints are logged, and are the bytes right?

    python -m perf training_stall                              # all: half an hour
    python -m perf training_stall --case 200mb --pairs 1
    python -m perf training_stall --checkpoints 5              # of each side
    python -m perf training_stall --short                      # 10 MB, a few checkpoints
    python -m perf training_stall --dir /mnt/xfs               # on another file system

A loop on asyncio trains with PyTorch (a step runs in a thread), saves a checkpoint to one path
every few steps, and logs it. The bench measures the steps while logging is in flight; in the same
process, some steps before and after all of it; and the time for which logging one checkpoint blocks
the loop. Saving is part of neither. Afterwards the logged bytes of each checkpoint are read:
``perf/harness/training.py`` explains how they are judged. The sides are in
``perf/sides/training_loggers.py``. They take turns, each run in a fresh process and repository.

Each case has a result file of its own, ``training_stall-<case>.json``.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

from perf.harness import training as trainings
from perf.harness.bench import Bench, Job
from perf.harness.clock import PrewarmedClock
from perf.harness.ratios import percentile, spread
from perf.harness.repository import Repository
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.harness.units import GIB
from perf.sides import training_loggers

WARM_UP_STEPS = 10
QUIET_STEPS = 25  # before the first checkpoint, and again after the last one is logged
GOALS = {
    "times_the_copy": 1.3,
    "move_ms": 5.0,
    "median_step": 1.03,
    "mean_step": 1.05,
}
SHORT_CHECKPOINTS = 3
# A percentile needs so many steps in flight. With fewer, all steps count.
MIN_STEPS = 20
PREFIX = "training_stall-"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one case."""

    title: str
    size: int
    count: int
    every: int
    """Steps between two checkpoints."""
    isdir: bool = False


CASES = {
    "10mb": Checkpoints("a file of 10 MB", 10 * 10**6, 25, 10),
    "200mb": Checkpoints("a file of 200 MB", 200 * 10**6, 25, 10),
    "1gb": Checkpoints("a file of 1 GB", 10**9, 5, 40),
    "10k-files": Checkpoints(
        "10,000 files of 16 KiB", 10_000 * trainings.FILE_BYTES, 5, 40, isdir=True
    ),
}


class TrainingStall(Bench):
    name = "training_stall"
    cases = tuple(CASES)
    sides = tuple(training_loggers.SIDES)
    short_pairs = 1
    in_short_suite = True
    can_choose_cases = True
    can_choose_sides = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--checkpoints", type=int, help="so many (default: by the case)")

    def results(self, args: Namespace) -> list[str]:
        chosen = args.case or (["10mb"] if args.short else self.cases)
        return [f"{PREFIX}{case}" for case in chosen]

    def is_full(self, args: Namespace, result: str) -> bool:
        whole = _checkpoints(args, result) == CASES[result.removeprefix(PREFIX)]
        return super().is_full(args, result) and whole

    def space_bytes(self, args: Namespace, result: str) -> int:
        checkpoints = _checkpoints(args, result)
        return 3 * checkpoints.count * checkpoints.size

    def run(self, job: Job) -> dict[str, Any]:
        checkpoints = _checkpoints(job.args, job.result)
        print(
            f"{checkpoints.title}, {checkpoints.count} checkpoints, "
            f"one every {checkpoints.every} steps"
        )
        sides = self.chosen_sides(job.args)
        failures = {side: training_loggers.missing(side, isdir=checkpoints.isdir) for side in sides}
        document = partial(_document, checkpoints, job.pairs, failures)

        def run(repository: Repository, side: str) -> Run:
            return repository.run(
                self.name,
                side=side,
                size=checkpoints.size,
                count=checkpoints.count,
                every=checkpoints.every,
                isdir=checkpoints.isdir,
            )

        def keep(runs: dict[str, list[Run]]) -> None:
            job.write_unfinished(document(runs))

        runs = take_turns_in_repositories(
            job.work_dir, sides, job.pairs, run, _describe, failures=failures, on_run=keep
        )
        return document(runs)

    def measure(self, **given: Any) -> dict[str, Any]:
        side = given.pop("side")
        return asyncio.run(_train(side, Checkpoints("", **given)))

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"  {side:<18} no result: {each['skipped']}"
            for side, each in document["sides"].items()
            if each.get("skipped")
        )


def _checkpoints(args: Namespace, result: str) -> Checkpoints:
    case = CASES[result.removeprefix(PREFIX)]
    count = args.checkpoints or (SHORT_CHECKPOINTS if args.short else case.count)
    return replace(case, count=count)


def _document(
    checkpoints: Checkpoints,
    pairs: int,
    failures: dict[str, str | None],
    runs: dict[str, list[Run]],
) -> dict[str, Any]:
    return {
        "title": checkpoints.title,
        "bytes": checkpoints.size,
        "checkpoints": checkpoints.count,
        "every": checkpoints.every,
        "pairs": pairs,
        "goals": GOALS,
        "engine": next((run["engine"] for each in runs.values() for run in each), None),
        "sides": {
            side: _together(each)
            if each and not failures[side]
            else {"skipped": failures[side] or "not yet"}
            for side, each in runs.items()
        },
    }


async def _train(side: str, checkpoints: Checkpoints) -> dict[str, Any]:
    """Train in the working directory, a repository, while one side logs."""
    training = trainings.make(checkpoints.size, isdir=checkpoints.isdir)
    path = Path("checkpoint")
    steps_ms: list[tuple[float, bool]] = []
    quiet_ms: list[float] = []
    blocked_ms: list[float] = []
    saved_ms: list[float] = []

    async def step() -> None:
        in_flight, start = logger.in_flight, perf_counter()
        await asyncio.to_thread(training.step)
        # Logging that ends within the step has slowed down a part of the step only.
        steps_ms.append((_ms_since(start), in_flight and logger.in_flight))

    async def checkpoint(number: int) -> None:
        await asyncio.to_thread(training.stamp, number)
        if logger.saves:
            start = perf_counter()
            await asyncio.to_thread(training.save, path)
            saved_ms.append(_ms_since(start))
        start = perf_counter()
        await logger.log(path, number)
        blocked_ms.append(_ms_since(start))

    async def quiet() -> None:
        before = len(steps_ms)
        for _ in range(QUIET_STEPS):
            await step()
        quiet_ms.extend(ms for ms, _ in steps_ms[before:])
        del steps_ms[before:]

    async with training_loggers.SIDES[side](training) as logger:
        for _ in range(WARM_UP_STEPS):
            await step()
        steps_ms.clear()
        await quiet()
        with PrewarmedClock(min(8 * GIB, 2 * checkpoints.count * checkpoints.size)) as clock:
            for number in range(1, checkpoints.count + 1):
                for _ in range(checkpoints.every):
                    await step()
                await checkpoint(number)
            for _ in range(checkpoints.every):
                await step()
            await logger.finish()
        await quiet()
    stored = logger.stored()
    numbers = range(1, checkpoints.count + 1)
    judged = Counter(
        trainings.judge(stored.get(number, ()), number, training.stamps) for number in numbers
    )
    slow = [ms for ms, in_flight in steps_ms if in_flight]
    enough = len(slow) >= MIN_STEPS
    return {
        "engine": training.engine,
        "seconds": clock.seconds,
        "steps_in_flight": len(slow),
        "quiet_ms": _percentiles(quiet_ms),
        "step_ms": _percentiles(slow if enough else [ms for ms, _ in steps_ms]),
        "blocked_ms": _percentiles(blocked_ms),
        "saved_ms": median(saved_ms) if saved_ms else None,
        "bytes": dict(judged) if stored else None,
    }


def _ms_since(start: float) -> float:
    return (perf_counter() - start) * 1000


def _percentiles(values: list[float]) -> dict[str, float]:
    return {
        "median": median(values),
        "mean": fmean(values),
        "p99": percentile(values, 0.99),
        "max": max(values),
    }


def _together(runs: list[Run]) -> dict[str, Any]:
    """Return the spread of each number over the runs of one side, and all judgements."""
    judged: Counter[str] = Counter()
    for run in runs:
        judged.update(run["bytes"] or {})
    return {
        **{
            what: spreads([run[what] for run in runs])
            for what in ("quiet_ms", "step_ms", "blocked_ms")
        },
        "seconds": spread([run["seconds"] for run in runs]),
        "steps_in_flight": sum(run["steps_in_flight"] for run in runs),
        "saved_ms": None if runs[0]["saved_ms"] is None else median(r["saved_ms"] for r in runs),
        "bytes": dict(judged) or None,
    }


def _describe(side: str, run: Run) -> str:
    steps, quiet, blocked = run["step_ms"], run["quiet_ms"], run["blocked_ms"]
    judged = ", ".join(f"{count} {what}" for what, count in sorted((run["bytes"] or {}).items()))
    return (
        f"{side:<18} step {steps['median']:5.1f} ms ({quiet['median']:5.1f}), "
        f"mean {steps['mean']:5.1f} ({quiet['mean']:5.1f}), p99 {steps['p99']:5.1f}, "
        f"max {steps['max']:5.1f} ({run['steps_in_flight']} in flight)  "
        f"blocked {blocked['median']:7.1f} ms, max {blocked['max']:7.1f}  "
        f"saved {run['saved_ms'] or 0:6.1f} ms  {run['seconds']:5.1f} s  {judged}"
    )


BENCH = TrainingStall()
