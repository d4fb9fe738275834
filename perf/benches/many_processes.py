"""How many artifacts a second do 1, 2, 6 and 16 processes log into one repository at once?

    python -m perf many_processes

Each process has its own AsyncLive, and tiny artifacts of its own, each with an entry in dvc.yaml:
100 gathered, or 30 one by one. All begin at once, when each has entered. The rate is that of all
of them together, from the start to the end of the last one. The shortest and the longest time of a
process show how fair it was. The longest call shows how long a caller waits for the lock. Imports,
and opening the repository, are not counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.repository import Repository
from perf.harness.turns import Run, spreads, take_turns_in_repositories

PROCESSES = (1, 2, 6, 16)
SHORT_PROCESSES = (1, 2, 6)
ARTIFACTS = {"gathered": 100, "one_by_one": 30}
Point = tuple[str, int]
"""How the artifacts are logged, and the number of processes."""


class ManyProcesses(Bench):
    name = "many_processes"
    cases = tuple(ARTIFACTS)
    sides = tuple(f"{count} processes" for count in PROCESSES)
    in_short_suite = True

    def run(self, job: Job) -> dict[str, Any]:
        counts = SHORT_PROCESSES if job.args.short else PROCESSES
        points = [(how, processes) for how in ARTIFACTS for processes in counts]
        runs = take_turns_in_repositories(
            job.work_dir, points, job.pairs, self._run_point, _describe
        )
        return {
            "pairs": job.pairs,
            "artifacts": ARTIFACTS,
            "points": [
                {"how": how, "processes": processes, **spreads(each)}
                for (how, processes), each in runs.items()
            ],
        }

    def _run_point(self, repository: Repository, point: Point) -> Run:
        how, processes = point
        return repository.run(self.name, how=how, processes=processes)

    def measure(self, **given: Any) -> dict[str, Any]:
        return _measure(given["how"], given["processes"])


def _measure(how: str, processes: int) -> dict[str, float]:
    """Log in ``processes`` processes at once, in the working directory."""
    # A forked process has everything imported when it begins.
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
        barrier.wait()  # blocks the loop, which has nothing else to do
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


def _describe(point: Point, run: Run) -> str:
    how, processes = point
    return (
        f"{processes:>2} processes, {how.replace('_', ' '):<10}  "
        f"{run['per_second']:6.1f} a second  done after {run['first_done']:.2f} to "
        f"{run['last_done']:.2f} s  longest call {run['longest_call']:.2f} s  "
        f"CPU {run['cpu_seconds']:.2f} s"
    )


BENCH = ManyProcesses()
