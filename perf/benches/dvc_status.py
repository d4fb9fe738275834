"""What `dvc status` takes after logging, beside what it takes after `dvc add`.

    python perf/status.py [--dir DIR] [--files 10000] [--pairs 3]

Both have to find that nothing changed without reading a file again. The same directory of
files of 16 KiB and one file of 256 MiB are tracked in two fresh repositories, one by asynclive
and one by `dvc add`; then `dvc status` runs in one and the other by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from perf.harness import results
from perf.harness.repository import environment, make_repository
from perf.harness.standard_workloads import KIB, MIB
from perf.harness.work_dir import runs_dir
from perf.harness.workload_table import MIN_PAIRS

FILES = 10_000
SIDES = ("dvc add", "asynclive")


def main() -> int:
    args = _parse_args()
    if args.worker:
        asyncio.run(_log())
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="asynclive-status-", dir=args.dir) as name,
        runs_dir(Path(name)) as where,
    ):
        for side in SIDES:
            _make_tracked(where / side, side, args.files)
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(args.pairs):
            for side in SIDES:
                seconds[side].append(_status_seconds(where / side))
        for side in SIDES:
            low, high = min(seconds[side]), max(seconds[side])
            print(f"{side:<10} {median(seconds[side]):.2f} s  ({low:.2f} to {high:.2f})")
        ratio = median(seconds["asynclive"]) / median(seconds["dvc add"])
        enough = args.pairs >= MIN_PAIRS
        print(f"ratio {ratio:.2f}" if enough else "no ratio from so few pairs")
        payload = {
            "files": args.files,
            "pairs": args.pairs,
            "sides": {side: results.spread(runs) for side, runs in seconds.items()},
            "ratio": ratio if enough else None,
        }
        results.write("dvc_status", payload, where, full=enough and args.files == FILES)
    return 0


def _make_tracked(where: Path, side: str, files: int) -> None:
    where.mkdir()
    repo, env = where / "repo", environment(where)
    make_repository(repo, env)
    rng = random.Random("status")
    for index in range(files):
        folder = repo / "data" / f"{index // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:06}.bin").write_bytes(rng.randbytes(16 * KIB))
    with (repo / "large.bin").open("wb") as file:
        for _ in range(256):
            file.write(rng.randbytes(MIB))
    command = {
        "dvc add": ["-m", "dvc", "add", "--quiet", "data", "large.bin"],
        "asynclive": [str(Path(__file__).resolve()), "--worker"],
    }[side]
    subprocess.run([sys.executable, *command], cwd=repo, env=env, check=True)


async def _log() -> None:
    from asynclive import AsyncLive

    async with AsyncLive() as live:
        for path in ("data", "large.bin"):
            await live.log_artifact(path)


def _status_seconds(where: Path) -> float:
    os.sync()
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status"],
        cwd=where / "repo",
        env=environment(where),
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if "up to date" not in done.stdout:
        raise SystemExit(f"Not up to date: {done.stdout}")
    return seconds


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--files", type=int, default=FILES, help="of the directory")
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
