"""How late the event loop is while artifacts are logged: a task that sleeps 1 ms, over and over.

    python perf/looplag.py                            # asyncio and trio
    python perf/looplag.py --short                    # asyncio, a fifth of it
    python perf/looplag.py --isolation process        # not in threads

Lag is how much longer than 1 ms a sleep took. Logged meanwhile: a directory of 10,000 files of
16 KiB and 4 files of 256 MiB, with ``copy=True``, all at once. Beside it ``naive`` (DVCLive in
a thread, one call at a time), ``threads``: asynclive with ``isolation="thread"``, ``idle``:
nothing is logged, so this is what the machine and the loop do by themselves, and ``hashing``:
two threads do nothing but MD5, which holds no lock of the interpreter, so this is what two busy
cores do to a loop whatever the logger. Each run is a fresh process in a fresh repository; the
sides take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import anyio
import anyio.to_thread

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import RunFailedError, fresh_repository
from perf.harness.results import spread
from perf.harness.sources import KIB, MIB, Sources, make, place
from perf.harness.standard_workloads import Call
from perf.harness.turns import MIN_PAIRS
from perf.harness.work_dir import runs_dir
from perf.harness.workload_run import PrewarmedClock
from perf.sides.asynclive import open_dvclive

BENCH = "loop_lag"
SIDES = (
    "idle-asyncio",
    "idle-trio",
    "hashing-asyncio",
    "threads-asyncio",
    "threads-trio",
    "asynclive-asyncio",
    "asynclive-trio",
    "naive-asyncio",
)
SIDES_OF = {"process": "asynclive", "thread": "threads"}
HASHING_THREADS = 2
GOALS_MS = {"p99": 1.0, "max": 15.0}
SLEEP_SECONDS = 0.001
IDLE_SECONDS = 5.0
SHORT_SCALE = 0.2
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999}
# Upper edges of the histogram's buckets, in ms: four to a doubling, 1 microsecond to 1 minute.
EDGES_MS = [0.001 * 2 ** (index / 4) for index in range(104)]

Log = Callable[[], Awaitable[None]]


def main() -> int:
    args = _parse_args()
    if args.run:
        print(json.dumps(run(args.run, args.sources, args.scale)))
        return 0
    wanted = SIDES_OF if args.isolation == "both" else {args.isolation}
    left_out = {side for isolation, side in SIDES_OF.items() if isolation not in wanted}
    sides = [
        side
        for side in SIDES
        if side.partition("-")[0] not in left_out and not (args.short and side.endswith("trio"))
    ]
    scale = SHORT_SCALE if args.short else args.scale
    full = scale == 1 and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        sources = sources_at(scale)
        options.need_space(work_dir, 5 * sum(each.size for each in sources), BENCH)
        made = make(sources, work_dir / "sources" / f"{BENCH}-{scale:g}", BENCH)
        with runs_dir(work_dir) as where:
            for _ in range(args.pairs):
                for side in sides:
                    with fresh_repository(where) as repository:
                        place(sources, made, repository.path, in_place=False)
                        try:
                            one = repository.run(
                                "perf.benches.loop_lag",
                                "--run",
                                side,
                                "--sources",
                                made,
                                "--scale",
                                scale,
                            )
                        except RunFailedError as error:
                            print(f"{side}: {error}", file=sys.stderr)
                            return 1
                    runs[side].append(one)
                    print(f"  {side:<18} {_said(one)}", flush=True)
        payload = {
            "scale": scale,
            "pairs": args.pairs,
            "goals_ms": GOALS_MS,
            "edges_ms": EDGES_MS,
            "sides": {side: _together(each) for side, each in runs.items()},
        }
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def sources_at(scale: float) -> list[Sources]:
    return [
        Sources("dataset", 16 * KIB, max(1, round(10_000 * scale)), isdir=True),
        *(
            Sources(f"checkpoint-{index}.pt", max(1, round(256 * MIB * scale)))
            for index in range(4)
        ),
    ]


def run(side: str, made: Path, scale: float) -> dict[str, Any]:
    """Measure one side in the working directory."""
    kind, _, backend = side.partition("-")
    calls = [
        Call(made / source.name, {"name": Path(source.name).stem, "type": "dataset", "copy": True})
        for source in sources_at(scale)
    ]
    measured = {
        "idle": _idle,
        "hashing": _hashing,
        "naive": _naive,
        "asynclive": partial(_asynclive, "process"),
        "threads": partial(_asynclive, "thread"),
    }[kind]
    lags_ms, seconds = anyio.run(measured, calls, min(1.0, scale), backend=backend)
    if kind in ("naive", "asynclive", "threads") and len(list(Path().rglob("*.dvc"))) < len(calls):
        raise SystemExit(f"{side}: not all was logged")
    return summary(lags_ms, seconds)


async def _idle(calls: list[Call], scale: float) -> tuple[list[float], float]:
    return await lags_while(partial(anyio.sleep, IDLE_SECONDS * scale), scale)


async def _hashing(calls: list[Call], scale: float) -> tuple[list[float], float]:
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


async def _naive(calls: list[Call], scale: float) -> tuple[list[float], float]:
    live = open_dvclive()

    async def log() -> None:
        for call in calls:
            await anyio.to_thread.run_sync(partial(live.log_artifact, call.path, **call.options))
        await anyio.to_thread.run_sync(live.end)

    return await lags_while(log, scale)


async def _asynclive(
    isolation: Literal["thread", "process"], calls: list[Call], scale: float
) -> tuple[list[float], float]:
    from asynclive import AsyncLive

    async with AsyncLive(isolation=isolation) as live:

        async def log() -> None:
            async with anyio.create_task_group() as task_group:
                for call in calls:
                    task_group.start_soon(partial(live.log_artifact, call.path, **call.options))

        return await lags_while(log, scale)


async def lags_while(log: Log, scale: float) -> tuple[list[float], float]:
    """The lag of each sleep, in ms, from before ``log`` starts to after it has ended."""
    lags_ms: list[float] = []

    async def sleep_on() -> None:
        while True:
            before = perf_counter()
            await anyio.sleep(SLEEP_SECONDS)
            # A loop's clock may tick a little early.
            lags_ms.append(max(0.0, perf_counter() - before - SLEEP_SECONDS) * 1000)

    with PrewarmedClock(int(4 * 1024 * MIB * scale)) as clock:
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(sleep_on)
            await anyio.sleep(20 * SLEEP_SECONDS)
            await log()
            await anyio.sleep(20 * SLEEP_SECONDS)
            task_group.cancel_scope.cancel()
    return lags_ms, clock.seconds


def summary(lags_ms: list[float], seconds: float) -> dict[str, Any]:
    ordered = sorted(lags_ms)
    counts = [0] * (len(EDGES_MS) + 1)  # the last: longer than the last edge
    bucket = 0
    for lag in ordered:
        while bucket < len(EDGES_MS) and lag > EDGES_MS[bucket]:
            bucket += 1
        counts[bucket] += 1
    return {
        "seconds": seconds,
        "sleeps": len(ordered),
        **{
            name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
            for name, share in PERCENTILES.items()
        },
        "max": ordered[-1],
        "counts": counts,
    }


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "seconds": spread([one["seconds"] for one in runs]),
        "sleeps": sum(one["sleeps"] for one in runs),
        "lag_ms": {name: spread([one[name] for one in runs]) for name in (*PERCENTILES, "max")},
        "counts": [sum(each) for each in zip(*(one["counts"] for one in runs), strict=True)],
    }


def _said(one: dict[str, Any]) -> str:
    lags = "  ".join(f"{name} {one[name]:.2f} ms" for name in (*PERCENTILES, "max"))
    return f"{one['seconds']:6.2f} s  {lags}  of {one['sleeps']} sleeps"


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="make the workload smaller")
    parser.add_argument(
        "--isolation",
        choices=(*SIDES_OF, "both"),
        default="both",
        help="of asynclive (default: %(default)s)",
    )
    parser.add_argument("--run", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
