"""How late is the event loop while artifacts are logged?

    python -m perf loop_lag                              # asyncio and trio
    python -m perf loop_lag --short                      # asyncio, a fifth of the work
    python -m perf loop_lag --isolation process          # not in threads

A task sleeps 1 ms, over and over. Lag is how much longer than 1 ms a sleep took. In parallel, a
directory of 10,000 files of 16 KiB and 4 files of 256 MiB are logged with ``copy=True``, all at
once. The sides, each in a fresh process and repository, in turns:

- ``asynclive``, in its default process, and ``threads``: ``isolation="thread"``.
- ``naive``: DVCLive in a thread, one call at a time.
- ``idle``: nothing is logged. This is the lag of the machine and the loop.
- ``hashing``: two threads compute MD5 alone, which holds no lock of the interpreter. This is what
  two busy cores do to a loop, whatever the logger.
"""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import anyio
import anyio.to_thread

from perf.harness.bench import Bench, Job
from perf.harness.lag_probe import EDGES_MS, PERCENTILES, lags_while, summarize
from perf.harness.ratios import spread
from perf.harness.repository import Repository
from perf.harness.sources import Sources, make, place
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.harness.units import KIB
from perf.harness.workload import Call, large_files, small_files
from perf.sides.dvclive import open_dvclive

SIDES_OF = {"process": "asynclive", "thread": "threads"}
HASHING_THREADS = 2
GOALS_MS = {"p99": 1.0, "max": 15.0}
IDLE_SECONDS = 5.0

Lags = tuple[list[float], float]
"""The lag of each sleep in ms, and the seconds of the whole."""


class LoopLag(Bench):
    name = "loop_lag"
    sides = (
        "idle-asyncio",
        "idle-trio",
        "hashing-asyncio",
        "threads-asyncio",
        "threads-trio",
        "asynclive-asyncio",
        "asynclive-trio",
        "naive-asyncio",
    )
    short_scale = 0.2
    in_short_suite = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--isolation",
            choices=(*SIDES_OF, "both"),
            default="both",
            help="of asynclive (default: %(default)s)",
        )

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and args.isolation == "both"

    def space_bytes(self, args: Namespace, result: str) -> int:
        return 5 * sum(each.size for each in sources_at(args.scale))

    def run(self, job: Job) -> dict[str, Any]:
        sources = sources_at(job.scale)
        made = make(sources, job.work_dir / "sources" / f"{self.name}-{job.scale:g}", self.name)

        def run(repository: Repository, side: str) -> Run:
            place(sources, made, repository.path, in_place=False)
            return repository.run(self.name, side=side, sources=made, scale=job.scale)

        runs = take_turns_in_repositories(
            job.work_dir, self._sides(job.args), job.pairs, run, _describe
        )
        return {
            "scale": job.scale,
            "pairs": job.pairs,
            "goals_ms": GOALS_MS,
            "edges_ms": EDGES_MS,
            "sides": {side: _together(each) for side, each in runs.items()},
        }

    def _sides(self, args: Namespace) -> list[str]:
        wanted = SIDES_OF if args.isolation == "both" else {args.isolation}
        left_out = {side for isolation, side in SIDES_OF.items() if isolation not in wanted}
        return [
            side
            for side in self.sides
            if side.partition("-")[0] not in left_out and not (args.short and side.endswith("trio"))
        ]

    def measure(self, **given: Any) -> dict[str, Any]:
        return _measure(given["side"], Path(given["sources"]), given["scale"])


def sources_at(scale: float) -> list[Sources]:
    return [*small_files(10_000)(scale), *large_files(4, 256)(scale)]


def _measure(side: str, made: Path, scale: float) -> dict[str, Any]:
    """Measure one side in the working directory."""
    kind, _, backend = side.partition("-")
    calls = [
        Call(made / source.name, {"name": Path(source.name).stem, "type": "dataset", "copy": True})
        for source in sources_at(scale)
    ]
    kinds: dict[str, Callable[[list[Call], float], Awaitable[Lags]]] = {
        "idle": _idle,
        "hashing": _hashing,
        "naive": _naive,
        "asynclive": partial(_asynclive, "process"),
        "threads": partial(_asynclive, "thread"),
    }
    lags_ms, seconds = anyio.run(kinds[kind], calls, min(1.0, scale), backend=backend)
    if kind in ("naive", "asynclive", "threads") and len(list(Path().rglob("*.dvc"))) < len(calls):
        raise SystemExit(f"{side}: some artifacts were not logged")
    return summarize(lags_ms, seconds)


async def _idle(calls: list[Call], scale: float) -> Lags:
    return await lags_while(partial(anyio.sleep, IDLE_SECONDS * scale), scale)


async def _hashing(calls: list[Call], scale: float) -> Lags:
    ended = perf_counter() + IDLE_SECONDS * scale

    def hash_on() -> None:
        data = bytes(256 * KIB)
        while perf_counter() < ended:
            hashlib.md5(data, usedforsecurity=False).digest()

    async def log() -> None:
        async with anyio.create_task_group() as task_group:
            for _ in range(HASHING_THREADS):
                task_group.start_soon(anyio.to_thread.run_sync, hash_on)

    return await lags_while(log, scale)


async def _naive(calls: list[Call], scale: float) -> Lags:
    live = open_dvclive()

    async def log() -> None:
        for call in calls:
            await anyio.to_thread.run_sync(partial(live.log_artifact, call.path, **call.options))
        await anyio.to_thread.run_sync(live.end)

    return await lags_while(log, scale)


async def _asynclive(
    isolation: Literal["thread", "process"], calls: list[Call], scale: float
) -> Lags:
    from asynclive import AsyncLive

    async with AsyncLive(isolation=isolation) as live:

        async def log() -> None:
            async with anyio.create_task_group() as task_group:
                for call in calls:
                    task_group.start_soon(partial(live.log_artifact, call.path, **call.options))

        return await lags_while(log, scale)


def _together(runs: list[Run]) -> dict[str, Any]:
    """Return the spreads of all runs of a side, and the sum of their histograms."""
    return {
        "seconds": spread([run["seconds"] for run in runs]),
        "sleeps": sum(run["sleeps"] for run in runs),
        "lag_ms": spreads(runs, (*PERCENTILES, "max")),
        "counts": [sum(each) for each in zip(*(run["counts"] for run in runs), strict=True)],
    }


def _describe(side: str, run: Run) -> str:
    lags = "  ".join(f"{name} {run[name]:.2f} ms" for name in (*PERCENTILES, "max"))
    return f"{side:<18} {run['seconds']:6.2f} s  {lags}  of {run['sleeps']} sleeps"


BENCH = LoopLag()
