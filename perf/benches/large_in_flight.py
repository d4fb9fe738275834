"""How long a small artifact takes while a very large one is in flight, and alone.

    python perf/beside_large.py [--dir DIR] [--rounds 3] [--count 30]

In flight is a directory of 100 files of 1 GB (sparse, and equal, so that the cache holds one
of them at most besides those being written), or one of 50,000 files of 16 KiB. Small
artifacts of 1 KiB and of 1 MiB are logged one after the other, first alone, then beside it;
then the large call is cancelled, and what that took is measured too. Each round is a fresh
process and a fresh repository.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from perf.harness import results
from perf.harness.repository import environment, make_repository
from perf.harness.standard_workloads import KIB, MIB
from perf.harness.work_dir import runs_dir
from perf.harness.workload_table import MIN_PAIRS

if TYPE_CHECKING:
    from asynclive import AsyncLive

# Files, and bytes of each; None: sparse.
LARGE = {
    "100 x 1 GB": (100, 10**9, True),
    "50,000 x 16 KiB": (50_000, 16 * KIB, False),
}
SMALL = {"1 KiB": KIB, "1 MiB": MIB}
# Between two looks at whether the large one is under way.
_LOOK_SECONDS = 0.01


def main() -> int:
    args = _parse_args()
    if args.worker:
        print(json.dumps(asyncio.run(_round(args.count))))
        return 0
    with tempfile.TemporaryDirectory(prefix="asynclive-beside-", dir=args.dir) as name:
        work_dir = Path(name)
        cases = [case for large in LARGE for case in _measure(large, args, work_dir)]
        full = args.rounds >= MIN_PAIRS and args.count >= 30
        results.write(
            "large_in_flight", {"rounds": args.rounds, "cases": cases}, work_dir, full=full
        )
    return 0


def _measure(large: str, args: argparse.Namespace, work_dir: Path) -> list[dict[str, Any]]:
    rounds = [_round_in_process(large, args.count, work_dir) for _ in range(args.rounds)]
    cancel = [one["cancel_seconds"] for one in rounds]
    print(f"{large}: cancelled within {max(cancel):.2f} s", flush=True)
    cases = []
    for small in SMALL:
        alone = [seconds for one in rounds for seconds in one["alone"][small]]
        beside = [seconds for one in rounds for seconds in one["beside"][small]]
        ratio = median(beside) / median(alone) if len(rounds) >= MIN_PAIRS else None
        said = "no ratio from so few rounds" if ratio is None else f"{ratio:.2f} x"
        print(
            f"  {small}: alone {median(alone) * 1e3:6.1f} ms (max {max(alone) * 1e3:.0f})"
            f"  beside {median(beside) * 1e3:6.1f} ms (max {max(beside) * 1e3:.0f})  {said}",
            flush=True,
        )
        cases.append(
            {
                "large": large,
                "small": small,
                "alone": results.spread(alone),
                "beside": results.spread(beside),
                "ratio": ratio,
                "cancel_seconds": results.spread(cancel),
            }
        )
    return cases


def _round_in_process(large: str, count: int, work_dir: Path) -> dict[str, Any]:
    with runs_dir(work_dir) as where:
        repo, env = where / "repo", environment(where)
        make_repository(repo, env)
        _make_large(repo / "large", *LARGE[large])
        for phase in ("warm", "alone", "beside"):
            for small, size in SMALL.items():
                for index in range(count):
                    _small_path(repo, phase, small, index).write_bytes(os.urandom(size))
        os.sync()
        command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
        done = subprocess.run(
            [*command, "--count", str(count)], cwd=repo, env=env, stdout=subprocess.PIPE
        )
        done.check_returncode()
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured


def _make_large(path: Path, files: int, file_bytes: int, sparse: bool) -> None:
    rng = random.Random("beside")
    for index in range(files):
        folder = path / f"{index // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{index:05}.bin").open("wb") as file:
            if sparse:
                file.truncate(file_bytes)
            else:
                file.write(rng.randbytes(file_bytes))


def _small_path(repo: Path, phase: str, small: str, index: int) -> Path:
    return repo / f"{phase}-{small.replace(' ', '')}-{index}.bin"


async def _round(count: int) -> dict[str, Any]:
    from asynclive import AsyncLive

    async with AsyncLive() as live:
        await _log_small(live, "warm", 1)
        alone = await _log_small(live, "alone", count)
        large = asyncio.create_task(live.log_artifact("large", type="dataset"))
        # Under way: its directory is looked through, and all threads it may have are at work.
        now = live.statistics()
        while now.busy_workers < now.total_workers - 1 or not now.staging:
            await asyncio.sleep(_LOOK_SECONDS)
            now = live.statistics()
        beside = await _log_small(live, "beside", count)
        if large.done():
            raise SystemExit("The large artifact was logged before the small ones were.")
        start = time.perf_counter()
        large.cancel()
        await asyncio.wait([large])
        cancel_seconds = time.perf_counter() - start
    _check_nothing_left()
    return {"alone": alone, "beside": beside, "cancel_seconds": cancel_seconds}


def _check_nothing_left() -> None:
    left = [*Path(".dvc/cache").glob("**/.asynclive-*/*"), *Path(".dvc/tmp").glob("asynclive-*/*")]
    if left or Path("large.dvc").exists():
        raise SystemExit(f"The cancelled call left something: {left}")


async def _log_small(live: AsyncLive, phase: str, count: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {small: [] for small in SMALL}
    for index in range(count):
        for small in SMALL:
            path = _small_path(Path(), phase, small, index)
            start = time.perf_counter()
            await live.log_artifact(path, type="model")
            took[small].append(time.perf_counter() - start)
    return took


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--rounds", type=int, default=MIN_PAIRS)
    parser.add_argument("--count", type=int, default=30, help="small artifacts of each size")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
