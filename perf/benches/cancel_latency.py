"""How long does a caller wait that is cancelled late in a large copy?

    python -m perf cancel_latency
    python -m perf cancel_latency --runs 5 --gib 4 --dir DIR

A file is logged with ``copy=True``. The call is cancelled once three quarters of the file are in
both new files, the object and the copy. Measured are the milliseconds from ``cancel()`` until the
caller continues, and then until the block is left, which waits until the space is free. Each run is
a fresh process and a fresh repository; the backends take turns.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from perf.harness.bench import Bench, Job
from perf.harness.repository import Repository
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.harness.units import GIB, MIB
from perf.harness.work_dir import runs_dir

FULL_GIB, SHORT_GIB = 4.0, 0.25
# Between two checks of how much is written.
_CHECK_SECONDS = 0.005


class CancelLatency(Bench):
    name = "cancel_latency"
    sides = ("asyncio", "trio")
    pairs = 5
    short_pairs = 1

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gib", type=float, help=f"size of the file (default: {FULL_GIB:g})")

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and _gib(args) >= FULL_GIB

    def space_bytes(self, args: Namespace, result: str) -> int:
        return int(3 * _gib(args) * GIB)

    def run(self, job: Job) -> dict[str, Any]:
        gib = _gib(job.args)
        with runs_dir(job.work_dir) as where:
            source = where / "checkpoint.pt"
            _write(source, int(gib * GIB))

            def run(repository: Repository, backend: str) -> Run:
                return repository.run(self.name, backend=backend, source=source)

            runs = take_turns_in_repositories(job.work_dir, self.sides, job.pairs, run, _describe)
        return {
            "gib": gib,
            "backends": {backend: spreads(each) for backend, each in runs.items()},
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        return anyio.run(_measure, Path(given["source"]), backend=given["backend"])


def _gib(args: Namespace) -> float:
    default = SHORT_GIB if args.short else FULL_GIB
    gib: float = default if args.gib is None else args.gib
    return gib


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(MIB))


async def _measure(source: Path) -> dict[str, float]:
    from asynclive import AsyncLive

    continued = anyio.Event()
    continued_at = 0.0
    scope = anyio.CancelScope()

    async def call() -> None:
        nonlocal continued_at
        with scope:
            await live.log_artifact(source, type="model", copy=True)
        continued_at = time.perf_counter()
        continued.set()

    wanted = await anyio.to_thread.run_sync(os.path.getsize, source) * 3 // 4
    async with AsyncLive() as live, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        # There is no event for how much of a copy is written.
        while not continued.is_set() and min(_temp_sizes(), default=0) < wanted:  # noqa: ASYNC110
            await anyio.sleep(_CHECK_SECONDS)
        if continued.is_set():
            raise SystemExit("The artifact was logged before it could be cancelled.")
        start = time.perf_counter()
        scope.cancel()
        await continued.wait()
        if not scope.cancelled_caught or _temp_sizes():
            raise SystemExit("The call was not cancelled, or it left files.")
    left_at = time.perf_counter()
    return {
        "cancelled_ms": (continued_at - start) * 1000,
        "leaving_ms": (left_at - continued_at) * 1000,
    }


def _temp_sizes() -> list[int]:
    """Return the sizes of the unfinished files: the object's and the copy's."""
    temps = (
        *Path(".dvc/cache").glob("**/.asynclive-*/[0-9]*"),
        *Path(".dvc/tmp").glob("asynclive-*/[0-9]*"),
    )
    sizes = [path.stat().st_size for path in temps]
    return sizes if len(sizes) != 1 else [0, *sizes]


def _describe(backend: str, run: Run) -> str:
    return (
        f"{backend:<8} continued after {run['cancelled_ms']:7.1f} ms"
        f", block left after {run['leaving_ms']:7.1f} ms more"
    )


BENCH = CancelLatency()
