"""What ``isolation="process"`` costs, and what it spares a loop that is busy with Python.

    python perf/isolation.py [--pairs 5] [--short]

For each isolation: seconds to enter and to leave; seconds for 200 artifacts of 12 bytes, logged
all at once, and for one file of 256 MiB, copied; and how long the steps of a training loop take
(5 ms of Python each, with a turn for the event loop after each) while a directory of 10,000
files of 16 KiB is logged with ``copy=True``, over those with nothing logged. Each run is a
fresh process in a fresh repository; the isolations take turns.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.lowlevel

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import fresh_repository
from perf.harness.results import spread
from perf.harness.sources import KIB, MIB, Sources, make, place
from perf.harness.work_dir import runs_dir
from perf.harness.workload_run import PrewarmedClock

BENCH = "isolation"
ISOLATIONS = ("thread", "process")
STEP_SECONDS = 0.005
ALONE_STEPS = 200
SHORT_SCALE = 0.1


def main() -> int:
    args = _parse_args()
    if args.run:
        print(json.dumps(anyio.run(_run, args.run, args.sources, args.scale)))
        return 0
    scale = SHORT_SCALE if args.short else args.scale
    runs: dict[str, list[dict[str, float]]] = {isolation: [] for isolation in ISOLATIONS}
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        sources = sources_at(scale)
        made = make(sources, work_dir / "sources" / f"{BENCH}-{scale:g}", BENCH)
        with runs_dir(work_dir) as where:
            for _ in range(args.pairs):
                for isolation in ISOLATIONS:
                    with fresh_repository(where) as repository:
                        place(sources, made, repository.path, in_place=False)
                        one = repository.run(
                            "perf.benches.isolation",
                            "--run",
                            isolation,
                            "--sources",
                            made,
                            "--scale",
                            scale,
                        )
                    runs[isolation].append(one)
                    said = "  ".join(f"{name} {value:.3f}" for name, value in one.items())
                    print(f"  {isolation:<8} {said}", flush=True)
        payload = {
            "scale": scale,
            "pairs": args.pairs,
            "isolations": {
                isolation: {name: spread([one[name] for one in each]) for name in each[0]}
                for isolation, each in runs.items()
            },
        }
        full = scale == 1 and args.pairs >= 3
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def sources_at(scale: float) -> list[Sources]:
    return [
        Sources("dataset", 16 * KIB, max(1, round(10_000 * scale)), isdir=True),
        Sources("checkpoint.pt", max(1, round(256 * MIB * scale))),
        Sources("tiny", 12, max(1, round(200 * scale)), isdir=True),
    ]


async def _run(isolation: str, made: Path, scale: float) -> dict[str, float]:
    """Measure one isolation in the working directory."""
    from asynclive import AsyncLive

    tiny = sorted(path for path in (made / "tiny").rglob("*") if path.is_file())
    alone = await _steps_while(partial(_steps, ALONE_STEPS))
    at = perf_counter()
    async with AsyncLive(isolation=isolation) as live:  # type: ignore[arg-type]
        entering = perf_counter() - at

        async def log_tiny() -> None:
            async with anyio.create_task_group() as tasks:
                for path in tiny:
                    tasks.start_soon(partial(live.log_artifact, path, type="dataset", copy=True))

        async def log_large() -> None:
            await live.log_artifact(made / "checkpoint.pt", type="model", copy=True)

        async def log_many() -> None:
            await live.log_artifact(made / "dataset", type="dataset", copy=True)

        with PrewarmedClock(int(1024 * MIB * scale)) as tiny_clock:
            await log_tiny()
        with PrewarmedClock(int(1024 * MIB * scale)) as large_clock:
            await log_large()
        with PrewarmedClock(int(1024 * MIB * scale)) as many_clock:
            beside = await _steps_while(log_many)
        at = perf_counter()
    leaving = perf_counter() - at
    return {
        "entering_s": entering,
        "leaving_s": leaving,
        "tiny_s": tiny_clock.seconds,
        "tiny_parent_cpu_s": tiny_clock.user_seconds + tiny_clock.system_seconds,
        "large_s": large_clock.seconds,
        "many_s": many_clock.seconds,
        "step_median": _at(beside, 0.5) / _at(alone, 0.5),
        "step_mean": sum(beside) / len(beside) / (sum(alone) / len(alone)),
        "step_p99": _at(beside, 0.99) / _at(alone, 0.99),
    }


async def _steps_while(log: Callable[[], Awaitable[Any]]) -> list[float]:
    """The seconds of each step, for as long as ``log`` takes."""
    steps: list[float] = []

    async def train() -> None:
        while True:
            steps.append(_step())
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(train)
        await log()
        tasks.cancel_scope.cancel()
    return steps


async def _steps(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def _step() -> float:
    """A fixed amount of Python, as long as ``STEP_SECONDS`` where nothing else runs."""
    at = perf_counter()
    total = 0
    for number in range(_loops()):
        total += number
    return perf_counter() - at


def _loops(known: list[int] = []) -> int:  # noqa: B006  # measured once
    if not known:
        at, total = perf_counter(), 0
        for number in range(1_000_000):
            total += number
        known.append(int(1_000_000 * STEP_SECONDS / (perf_counter() - at)))
    return known[0]


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="make the workload smaller")
    parser.add_argument("--run", choices=ISOLATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
