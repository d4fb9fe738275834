"""Artifacts a second when 1, 2, 6 and 16 processes log into one repository at once.

    python perf/many_processes.py

Each process has its own AsyncLive, and tiny artifacts of its own, each with an entry in
dvc.yaml: 100 gathered, or 30 one by one. All begin at once, when each has entered. The rate is
that of all of them together, from the start to the last one's end; the shortest and the longest
time of a process say how fair it was, the longest call how long one waits for its turn. Imports,
and opening the repository, are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import Repository, RunFailedError
from perf.harness.results import spread
from perf.harness.turns import MIN_PAIRS, in_turn

BENCH = "many_processes"
PROCESSES = (1, 2, 6, 16)
SHORT_PROCESSES = (1, 2, 6)
ARTIFACTS = {"gathered": 100, "one_by_one": 30}


def main() -> int:
    args = _parse_args()
    if args.run:
        how, processes = args.run
        print(json.dumps(run(how, int(processes))))
        return 0
    counts = SHORT_PROCESSES if args.short else PROCESSES
    full = not args.short and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    points = [(how, processes) for how in ARTIFACTS for processes in counts]
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        try:
            runs = in_turn(work_dir, points, args.pairs, _run_in, _said)
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 1
        payload = {
            "pairs": args.pairs,
            "artifacts": ARTIFACTS,
            "points": [
                {
                    "how": how,
                    "processes": processes,
                    **{what: spread([one[what] for one in each]) for what in each[0]},
                }
                for (how, processes), each in runs.items()
            ],
        }
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _run_in(repository: Repository, point: tuple[str, int]) -> dict[str, Any]:
    return repository.run("perf.benches.many_processes", "--run", *point)


def run(how: str, processes: int) -> dict[str, float]:
    """Log in so many processes at once, in the working directory."""
    # Where there is fork, all have imported what they need when they begin.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    import dvc.repo  # noqa: F401

    import asynclive._dvc.repository.dvc_repository  # noqa: F401

    barrier = context.Barrier(processes)
    workers, ends = [], []
    for number in range(processes):
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(number, how, barrier, theirs))
        worker.start()
        theirs.close()
        workers.append(worker)
        ends.append(ours)
    measured = [end.recv() for end in ends]
    for worker in workers:
        worker.join()
    count = processes * ARTIFACTS[how]
    found = len(list(Path().glob("artifacts/*/*.dvc"))), _entries()
    if found != (count, count):
        raise SystemExit(f"{found} .dvc files and entries, not {count}")
    start = min(one["start"] for one in measured)
    seconds = [one["end"] - start for one in measured]
    return {
        "per_second": count / max(seconds),
        "first_done": min(seconds),
        "last_done": max(seconds),
        "longest_call": max(one["longest_call"] for one in measured),
        "cpu_seconds": sum(one["cpu_seconds"] for one in measured),
    }


def _work(number: int, how: str, barrier: Any, end: Connection) -> None:
    end.send(asyncio.run(_log(number, how, barrier)))


async def _log(number: int, how: str, barrier: Any) -> dict[str, float]:
    from asynclive import AsyncLive

    paths = _make(number, ARTIFACTS[how])
    calls: list[float] = []

    async def log(path: Path) -> None:
        start = perf_counter()
        await live.log_artifact(path, name=path.stem, type="dataset")
        calls.append(perf_counter() - start)

    async with AsyncLive() as live:
        barrier.wait()  # nothing else is to run in this loop
        start, cpu = perf_counter(), _cpu_seconds()
        if how == "gathered":
            await asyncio.gather(*map(log, paths))
        else:
            for path in paths:
                await log(path)
        return {
            "start": start,
            "end": perf_counter(),
            "longest_call": max(calls),
            "cpu_seconds": _cpu_seconds() - cpu,
        }


def _cpu_seconds() -> float:
    return sum(os.times()[:2])


def _entries() -> int:
    from ruamel.yaml import YAML

    return len(YAML(typ="safe").load(Path("dvc.yaml"))["artifacts"])


def _make(number: int, count: int) -> list[Path]:
    directory = Path("artifacts", f"p{number:02}")
    directory.mkdir(parents=True)
    paths = [directory / f"p{number:02}-{index:03}.bin" for index in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(16))
    return paths


def _said(point: tuple[str, int], one: dict[str, float]) -> str:
    how, processes = point
    return (
        f"{processes:>2} processes, {how.replace('_', ' '):<10}  "
        f"{one['per_second']:6.1f} a second  done after {one['first_done']:.2f} to "
        f"{one['last_done']:.2f} s  longest call {one['longest_call']:.2f} s  "
        f"CPU {one['cpu_seconds']:.2f} s"
    )


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
