"""A copy where the file system shares blocks: what it takes, beside the hash alone.

    python perf/reflink.py [--dir DIR] [--gib 2] [--pairs 3]

Logs a file with ``copy=True`` on XFS, mounted from a file in DIR, and says the time and the
space it took. The sides take turns, each run in a fresh process and a fresh repository.
``hash`` is one thread's MD5 of the source, which DVC's format asks for and nothing can be
faster than. Needs root and mkfs.xfs; says so and ends well where they are missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from perf.harness import results
from perf.harness.loop_filesystem import NotPossibleError, mounted, used_bytes
from perf.harness.repository import environment, make_repository
from perf.harness.standard_workloads import MIB, Call
from perf.harness.workload_run import PrewarmedClock
from perf.harness.workload_table import MIN_PAIRS
from perf.sides.asynclive import SIDES

GIB = 1024 * MIB
RUN_SIDES = ("hash", "asynclive", "dvclive")


def main() -> int:
    args = _parse_args()
    if args.worker:
        print(json.dumps(_run(args.worker, args.source)))
        return 0
    size = int(args.gib * GIB)
    with tempfile.TemporaryDirectory(prefix="asynclive-reflink-", dir=args.dir) as name:
        try:
            # The source, what DVCLive writes besides, and as much again.
            with mounted("xfs", 4 * size + GIB, Path(name)) as disk:
                payload = {"bytes": size, "pairs": args.pairs, "sides": _measure(disk, size, args)}
                full = args.gib == 2 and args.pairs >= MIN_PAIRS
                results.write("reflink", payload, disk, full=full)
        except NotPossibleError as error:
            print(f"Skipped: {error}.")
    return 0


def _measure(disk: Path, size: int, args: argparse.Namespace) -> dict[str, Any]:
    source = disk / "checkpoint.pt"
    with source.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in RUN_SIDES}
    for pair in range(1, args.pairs + 1):
        for side in RUN_SIDES:
            run = _run_in_process(disk, side, source)
            runs[side].append(run)
            print(
                f"  {pair}/{args.pairs}  {side:<10} {run['seconds']:6.2f} s"
                f"  {run['used_mib']:8.1f} MiB more used",
                flush=True,
            )
    return {side: _summary(runs, side) for side in RUN_SIDES}


def _summary(runs: dict[str, list[dict[str, float]]], side: str) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs[side]]
    hashes = [run["seconds"] for run in runs["hash"]]
    used_mib = max(run["used_mib"] for run in runs[side])
    ratio = median(seconds) / median(hashes) if len(seconds) >= MIN_PAIRS else None
    said = "no ratio from so few pairs" if ratio is None else f"{ratio:.2f} x the hash"
    print(f"{side:<10} {median(seconds):6.2f} s  {said}, {used_mib:.1f} MiB more used")
    return {**results.spread(seconds), "ratio_to_hash": ratio, "used_mib": used_mib}


def _run_in_process(disk: Path, side: str, source: Path) -> dict[str, float]:
    run_dir = Path(tempfile.mkdtemp(dir=disk))
    try:
        repo, env = run_dir / "repo", environment(run_dir)
        make_repository(repo, env)
        before = used_bytes(disk)  # and nothing of an earlier run is written during this one
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", side]
        done = subprocess.run(
            [*command, "--source", str(source)], cwd=repo, env=env, stdout=subprocess.PIPE
        )
        done.check_returncode()
        return {**json.loads(done.stdout), "used_mib": (used_bytes(disk) - before) / MIB}
    finally:
        shutil.rmtree(run_dir)


def _run(side: str, source: Path) -> dict[str, float]:
    clock = PrewarmedClock(2 * source.stat().st_size)
    _hash(source)  # into the page cache
    if side == "hash":
        with clock:
            _hash(source)
    else:
        SIDES[side]([Call(source, {"type": "model", "name": "model", "copy": True})], clock)
    return {
        "seconds": clock.seconds,
        "user_seconds": clock.user_seconds,
        "system_seconds": clock.system_seconds,
    }


def _hash(source: Path) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(256 * 1024))
    with source.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            md5.update(buffer[:count])


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--gib", type=float, default=2, help="size of the file")
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS, help="runs of each side")
    parser.add_argument("--worker", choices=RUN_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
