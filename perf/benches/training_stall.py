"""How much a training loop stands still while its checkpoints are logged, and which bytes are.

    python perf/stall.py                              # all: half an hour
    python perf/stall.py --workload 200mb --pairs 1
    python perf/stall.py --checkpoints 5              # of each side
    python perf/stall.py --short                      # 10 MB, a few checkpoints
    python perf/stall.py --dir /mnt/xfs               # on another file system

A loop on asyncio trains with PyTorch (a step runs in a thread), saves a checkpoint to one path
every few steps, and logs it. Measured are the steps (those while logging is in flight, and, in
the same process, some before and after all of it), and the time that the loop is blocked by
logging one checkpoint. Saving is neither. Afterwards the
logged bytes of each checkpoint are looked at: ``training.py`` says how. The sides are in
``loggers.py``; they take turns, each run in a fresh process and a fresh repository.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness import training as trainings
from perf.harness.repository import RunFailedError, fresh_repository
from perf.harness.results import spread
from perf.harness.sources import MIB
from perf.harness.turns import MIN_PAIRS
from perf.harness.work_dir import runs_dir
from perf.harness.workload_run import PrewarmedClock
from perf.sides import training_loggers as loggers

WARM_UP_STEPS = 10
QUIET_STEPS = 25  # before the first checkpoint, and again after the last one is logged
GOALS = {
    "times_the_copy": 1.3,
    "move_ms": 5.0,
    "median_step": 1.03,
    "mean_step": 1.05,
}
SHORT_CHECKPOINTS = 3
# As many steps are needed for a percentile, or all of them are taken.
MIN_STEPS = 20


@dataclass(frozen=True)
class Workload:
    title: str
    size: int
    checkpoints: int
    every: int
    """Steps between two checkpoints."""
    isdir: bool = False


WORKLOADS = {
    "10mb": Workload("a file of 10 MB", 10 * 10**6, 25, 10),
    "200mb": Workload("a file of 200 MB", 200 * 10**6, 25, 10),
    "1gb": Workload("a file of 1 GB", 10**9, 5, 40),
    "10k-files": Workload("10,000 files of 16 KiB", 10_000 * trainings.FILE_BYTES, 5, 40, True),
}


def main() -> int:
    args = _parse_args()
    if args.run:
        made = Workload("", int(args.given[0]), *map(int, args.given[1:3]), args.given[3] == "1")
        print(json.dumps(asyncio.run(run(args.run, made))))
        return 0
    chosen = args.workload or (["10mb"] if args.short else list(WORKLOADS))
    sides = args.side or list(loggers.SIDES)
    pairs = 1 if args.short else args.pairs
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        for name in chosen:
            workload = WORKLOADS[name]
            if args.short or args.checkpoints:
                workload = replace(workload, checkpoints=args.checkpoints or SHORT_CHECKPOINTS)
            full = workload == WORKLOADS[name] and pairs >= MIN_PAIRS
            bench = f"training_stall-{name}"
            if args.resume and options.there(bench, results.directory(full=full, out=args.out)):
                continue
            options.need_space(work_dir, 3 * workload.checkpoints * workload.size, bench)
            payload: dict[str, Any] = {}
            for payload in _measure(workload, sides, pairs, work_dir):
                # What there is so far, in case the rest is not waited for.
                results.write(bench, payload, work_dir, full=False, out=args.out)
            print(results.write(bench, payload, work_dir, full=full, out=args.out), flush=True)
    return 0


def _measure(
    workload: Workload, sides: list[str], pairs: int, work_dir: Path
) -> Iterator[dict[str, Any]]:
    """The result so far, after each run."""
    print(f"{workload.title}, {workload.checkpoints} checkpoints, one every {workload.every} steps")
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    said = {side: loggers.missing(side, isdir=workload.isdir) for side in sides}
    given = (workload.size, workload.checkpoints, workload.every, int(workload.isdir))
    with runs_dir(work_dir) as where:
        for _ in range(pairs):
            for side in sides:
                if said[side]:
                    continue
                try:
                    with fresh_repository(where) as repository:
                        one = repository.run(
                            "perf.benches.training_stall", "--run", side, "--given", *given
                        )
                except RunFailedError as error:
                    said[side] = str(error)
                    continue
                runs[side].append(one)
                print(f"  {side:<18} {_said(one)}", flush=True)
                yield _result(workload, pairs, runs, said)
    for side, why in said.items():
        if why:
            print(f"  {side:<18} no result: {why}")
    yield _result(workload, pairs, runs, said)


def _result(
    workload: Workload,
    pairs: int,
    runs: dict[str, list[dict[str, Any]]],
    said: dict[str, str | None],
) -> dict[str, Any]:
    return {
        "title": workload.title,
        "bytes": workload.size,
        "checkpoints": workload.checkpoints,
        "every": workload.every,
        "pairs": pairs,
        "goals": GOALS,
        "engine": next((one["engine"] for each in runs.values() for one in each), None),
        "sides": {
            side: _together(each)
            if each and not said[side]
            else {"skipped": said[side] or "not yet"}
            for side, each in runs.items()
        },
    }


async def run(side: str, workload: Workload) -> dict[str, Any]:
    """Train in the working directory, a repository, with one side logging."""
    training = trainings.make(workload.size, isdir=workload.isdir)
    path = Path("checkpoint")
    steps_ms: list[tuple[float, bool]] = []
    quiet_ms: list[float] = []
    blocked_ms: list[float] = []
    saved_ms: list[float] = []

    async def step() -> None:
        in_flight, start = logger.in_flight, perf_counter()
        await asyncio.to_thread(training.step)
        # To the end: one that ends within the step has slowed down a part of it only.
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

    async with loggers.SIDES[side](training) as logger:
        for _ in range(WARM_UP_STEPS):
            await step()
        steps_ms.clear()
        await quiet()
        with PrewarmedClock(min(8 * 1024 * MIB, 2 * workload.checkpoints * workload.size)) as clock:
            for number in range(1, workload.checkpoints + 1):
                for _ in range(workload.every):
                    await step()
                await checkpoint(number)
            for _ in range(workload.every):
                await step()
            await logger.finish()
        await quiet()
    stored = logger.stored()
    numbers = range(1, workload.checkpoints + 1)
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
    ordered = sorted(values)
    return {
        "median": median(ordered),
        "mean": fmean(ordered),
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max": ordered[-1],
    }


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one side: the median of each number, and all bytes."""
    judged: Counter[str] = Counter()
    for one in runs:
        judged.update(one["bytes"] or {})
    return {
        **{
            what: {key: spread([one[what][key] for one in runs]) for key in runs[0][what]}
            for what in ("quiet_ms", "step_ms", "blocked_ms")
        },
        "seconds": spread([one["seconds"] for one in runs]),
        "steps_in_flight": sum(one["steps_in_flight"] for one in runs),
        "saved_ms": None if runs[0]["saved_ms"] is None else median(r["saved_ms"] for r in runs),
        "bytes": dict(judged) or None,
    }


def _said(one: dict[str, Any]) -> str:
    steps, quiet, blocked = one["step_ms"], one["quiet_ms"], one["blocked_ms"]
    judged = ", ".join(f"{count} {what}" for what, count in sorted((one["bytes"] or {}).items()))
    return (
        f"step {steps['median']:5.1f} ms ({quiet['median']:5.1f}), mean {steps['mean']:5.1f} "
        f"({quiet['mean']:5.1f}), p99 {steps['p99']:5.1f}, "
        f"max {steps['max']:5.1f} ({one['steps_in_flight']} in flight)  "
        f"blocked {blocked['median']:7.1f} ms, max {blocked['max']:7.1f}  "
        f"saved {one['saved_ms'] or 0:6.1f} ms  {one['seconds']:5.1f} s  {judged}"
    )


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this one")
    parser.add_argument("--side", action="append", choices=loggers.SIDES, help="only this one")
    parser.add_argument("--checkpoints", type=int, help="so many (default: by the workload)")
    parser.add_argument("--run", choices=loggers.SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--given", nargs=4, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
