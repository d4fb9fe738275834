"""What does ``isolation="process"`` cost, and what does it spare a loop that is busy with Python?

    python -m perf isolation
    python -m perf isolation --short                  # a tenth of the work

For each isolation the bench measures:

- the seconds to enter and to leave the block;
- the seconds for 200 artifacts of 12 bytes, gathered, and for one file of 256 MiB, copied;
- the steps of a training loop while a directory of 10,000 files of 16 KiB is logged with
  ``copy=True``, over the steps while nothing is logged. A step is 5 ms of Python. The event loop
  runs after each.

Each run is a fresh process in a fresh repository. The isolations take turns.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.lowlevel

from perf.harness.bench import Bench, Job
from perf.harness.clock import PrewarmedClock
from perf.harness.ratios import percentile
from perf.harness.repository import Repository
from perf.harness.sources import Sources, make, place
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.harness.units import GIB, KIB, MIB
from perf.harness.workload import scaled

STEP_SECONDS = 0.005
ALONE_STEPS = 200


class Isolation(Bench):
    name = "isolation"
    sides = ("thread", "process")
    short_scale = 0.1

    def space_bytes(self, args: Namespace, result: str) -> int:
        return 5 * sum(each.size for each in sources_at(args.scale))

    def run(self, job: Job) -> dict[str, Any]:
        sources = sources_at(job.scale)
        made = make(sources, job.work_dir / "sources" / f"{self.name}-{job.scale:g}", self.name)

        def run(repository: Repository, isolation: str) -> Run:
            place(sources, made, repository.path, in_place=False)
            return repository.run(self.name, isolation=isolation, sources=made, scale=job.scale)

        runs = take_turns_in_repositories(job.work_dir, self.sides, job.pairs, run, _describe)
        return {
            "scale": job.scale,
            "pairs": job.pairs,
            "isolations": {isolation: spreads(each) for isolation, each in runs.items()},
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        return anyio.run(_measure, given["isolation"], Path(given["sources"]), given["scale"])


def sources_at(scale: float) -> list[Sources]:
    return [
        Sources("dataset", 16 * KIB, scaled(10_000, scale), isdir=True),
        Sources("checkpoint.pt", scaled(256 * MIB, scale)),
        Sources("tiny", 12, scaled(200, scale), isdir=True),
    ]


async def _measure(isolation: str, made: Path, scale: float) -> dict[str, float]:
    """Measure one isolation in the working directory."""
    from asynclive import AsyncLive

    tiny = sorted(path for path in (made / "tiny").rglob("*") if path.is_file())
    alone = await _steps_while(partial(_checkpoints, ALONE_STEPS))
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

        with PrewarmedClock(int(GIB * scale)) as tiny_clock:
            await log_tiny()
        with PrewarmedClock(int(GIB * scale)) as large_clock:
            await log_large()
        with PrewarmedClock(int(GIB * scale)) as many_clock:
            while_logging = await _steps_while(log_many)
        at = perf_counter()
    leaving = perf_counter() - at
    return {
        "entering_s": entering,
        "leaving_s": leaving,
        "tiny_s": tiny_clock.seconds,
        "tiny_parent_cpu_s": tiny_clock.user_seconds + tiny_clock.system_seconds,
        "large_s": large_clock.seconds,
        "many_s": many_clock.seconds,
        "step_median": percentile(while_logging, 0.5) / percentile(alone, 0.5),
        "step_mean": sum(while_logging) / len(while_logging) / (sum(alone) / len(alone)),
        "step_p99": percentile(while_logging, 0.99) / percentile(alone, 0.99),
    }


async def _steps_while(log: Callable[[], Awaitable[Any]]) -> list[float]:
    """Take steps for as long as ``log`` takes; return the seconds of each."""
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


async def _checkpoints(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def _step() -> float:
    """Do a fixed amount of Python, which alone takes ``STEP_SECONDS``; return its seconds."""
    at = perf_counter()
    total = 0
    for number in range(_iterations()):
        total += number
    return perf_counter() - at


@cache
def _iterations() -> int:
    at, total = perf_counter(), 0
    for number in range(1_000_000):
        total += number
    return int(1_000_000 * STEP_SECONDS / (perf_counter() - at))


def _describe(isolation: str, run: Run) -> str:
    return f"{isolation:<8} " + "  ".join(f"{name} {value:.3f}" for name, value in run.items())


BENCH = Isolation()
