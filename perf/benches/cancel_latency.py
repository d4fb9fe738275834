"""How long a caller who is cancelled late in a large copy waits for being told.

    python perf/cancel_latency.py [--dir DIR] [--runs 5] [--gib 4] [--short]

A file is logged with ``copy=True``, and cancelled once three quarters of it are in both new
files, of the object and of the copy. Measured are the milliseconds from ``cancel()`` to the
caller's going on, and those that leaving the block then waits for the space to be free. Each
run is a fresh process and a fresh repository; the backends take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import anyio
import anyio.lowlevel

from perf.harness import results
from perf.harness.repository import fresh_repository
from perf.harness.standard_workloads import MIB
from perf.harness.work_dir import runs_dir

GIB = 1024 * MIB
BACKENDS = ("asyncio", "trio")
# Between two looks at how much is written.
_LOOK_SECONDS = 0.005


def main() -> int:
    args = _parse_args()
    if args.backend:
        print(json.dumps(anyio.run(_run, args.source, backend=args.backend)))
        return 0
    gib, runs = (0.25, 1) if args.short else (args.gib, args.runs)
    cancelled_ms: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    leaving_ms: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    with tempfile.TemporaryDirectory(prefix="asynclive-cancel-", dir=args.dir) as name:
        work_dir = Path(name)
        source = work_dir / "checkpoint.pt"
        _write(source, int(gib * GIB))
        with runs_dir(work_dir) as where:
            for number in range(1, runs + 1):
                for backend in BACKENDS:
                    with fresh_repository(where) as repository:
                        run = repository.run(
                            "perf.benches.cancel_latency", "--backend", backend, "--source", source
                        )
                    cancelled_ms[backend].append(run["cancelled_ms"])
                    leaving_ms[backend].append(run["leaving_ms"])
                    print(
                        f"  {number}/{runs}  {backend:<8} told after {run['cancelled_ms']:7.1f} ms"
                        f", block left after {run['leaving_ms']:7.1f} ms more",
                        flush=True,
                    )
        payload = {
            "gib": gib,
            "backends": {
                backend: {
                    "cancelled_ms": results.spread(cancelled_ms[backend]),
                    "leaving_ms": results.spread(leaving_ms[backend]),
                }
                for backend in BACKENDS
            },
        }
        full = gib >= 4 and runs >= 5
        results.write("cancel_latency", payload, work_dir, full=full, out=args.out)
    return 0


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(MIB))


async def _run(source: Path) -> dict[str, float]:
    from asynclive import AsyncLive

    told = anyio.Event()
    scope = anyio.CancelScope()

    async def call() -> None:
        nonlocal told_at
        with scope:
            await live.log_artifact(source, type="model", copy=True)
        told_at = time.perf_counter()
        told.set()

    told_at = 0.0
    wanted = await anyio.to_thread.run_sync(os.path.getsize, source) * 3 // 4
    async with AsyncLive() as live, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        # Nobody says how much is written.
        while not told.is_set() and min(_temp_sizes(), default=0) < wanted:  # noqa: ASYNC110
            await anyio.sleep(_LOOK_SECONDS)
        if told.is_set():
            raise SystemExit("The artifact was logged before it could be cancelled.")
        start = time.perf_counter()
        scope.cancel()
        await told.wait()
        if not scope.cancelled_caught or _temp_sizes():
            raise SystemExit("The call was not cancelled, or it left something.")
    left_at = time.perf_counter()
    return {
        "cancelled_ms": (told_at - start) * 1000,
        "leaving_ms": (left_at - told_at) * 1000,
    }


def _temp_sizes() -> list[int]:
    """Of the files in the making: the object's and the copy's."""
    temps = (
        *Path(".dvc/cache").glob("**/.asynclive-*/[0-9]*"),
        *Path(".dvc/tmp").glob("asynclive-*/[0-9]*"),
    )
    sizes = [path.stat().st_size for path in temps]
    return sizes if len(sizes) != 1 else [0, *sizes]


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--runs", type=int, default=5, help="of each backend")
    parser.add_argument("--gib", type=float, default=4, help="size of the file")
    parser.add_argument("--short", action="store_true", help="one run of a quarter of a GiB")
    parser.add_argument("--out", type=Path, help="write the result there")
    parser.add_argument("--backend", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
