"""How much memory does it take to log one artifact, by its size and by its number of files?

    python -m perf memory
    python -m perf memory --files 1000 10000 --mib 1 64

Each case runs in a fresh process and a fresh repository. The result is the peak of the resident
memory while the call runs, above the memory of the process once ``AsyncLive`` is entered (DVC is
imported by then). The goal: 64 MiB, and 1 KiB a file. Large files are sparse; their copies are not.
Small files hold 16 bytes, each different, in directories of 100.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.peak_memory import peak_mib, resident_mib
from perf.harness.repository import Repository
from perf.harness.turns import Run, take_turns_in_repositories
from perf.harness.units import MIB

FILES = (1_000, 10_000, 50_000, 200_000)
SIZES_MIB = (1, 64, 1024, 4096)
SHORT_FILES, SHORT_SIZES_MIB = (1_000,), (1, 64)
GOAL_MIB = 64.0
GOAL_FILE_MIB = 1 / 1024

Case = tuple[int, int, bool]
"""The number of files, the bytes of each, and ``copy``."""


class Memory(Bench):
    name = "memory"
    cases = (*(f"{mib} MiB" for mib in SIZES_MIB), *(f"{files} files" for files in FILES))
    sides = ("in place", "copied")
    pairs = 1
    needs_idle_machine = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--files", type=int, nargs="*", help="of a directory")
        parser.add_argument("--mib", type=int, nargs="*", help="of a single file")

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and _wanted(args) == (SIZES_MIB, FILES)

    def run(self, job: Job) -> dict[str, Any]:
        sizes_mib, counts = _wanted(job.args)
        wanted = [(1, size * MIB) for size in sizes_mib] + [(count, 16) for count in counts]
        cases = [(*what, copy) for what in wanted for copy in (False, True)]
        runs = take_turns_in_repositories(job.work_dir, cases, job.pairs, self._run_case, _describe)
        return {"cases": [_worst(case, each) for case, each in runs.items()]}

    def _run_case(self, repository: Repository, case: Case) -> Run:
        files, file_bytes, copy = case
        source = (repository.path.parent if copy else repository.path) / "artifact"
        _make_source(source, files, file_bytes)
        run = repository.run(self.name, source=source, copy=copy)
        return {**run, "above_mib": run["peak_mib"] - run["start_mib"]}

    def measure(self, **given: Any) -> dict[str, Any]:
        return asyncio.run(_log(given["source"], copy=given["copy"]))


def _wanted(args: Namespace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes in MiB, and the numbers of files."""
    sizes = SHORT_SIZES_MIB if args.short else SIZES_MIB
    counts = SHORT_FILES if args.short else FILES
    return (
        sizes if args.mib is None else tuple(args.mib),
        counts if args.files is None else tuple(args.files),
    )


def _worst(case: Case, runs: list[Run]) -> dict[str, Any]:
    files, file_bytes, copy = case
    worst = max(runs, key=lambda run: run["above_mib"])
    goal = _goal_mib(files)
    return {
        "files": files,
        "file_bytes": file_bytes,
        "copy": copy,
        **worst,
        "goal_mib": goal,
        "met": worst["above_mib"] <= goal,
    }


def _goal_mib(files: int) -> float:
    return GOAL_MIB + files * GOAL_FILE_MIB


def _describe(case: Case, run: Run) -> str:
    files, file_bytes, copy = case
    what = f"{files:,} files" if files > 1 else f"{file_bytes / MIB:,.0f} MiB file"
    goal = _goal_mib(files)
    return (
        f"{what:>16} {'copied' if copy else 'in place':<9} start {run['start_mib']:5.0f} MiB"
        f"  above {run['above_mib']:6.1f} MiB  goal {goal:5.0f} MiB  "
        f"{'met' if run['above_mib'] <= goal else 'MISSED'}"
    )


def _make_source(source: Path, files: int, file_bytes: int) -> None:
    if files == 1:
        with source.open("wb") as file:
            file.truncate(file_bytes)
        return
    for index in range(files):
        if index % 100 == 0:
            folder = source / f"{index // 10_000:02}" / f"{index // 100:04}"
            folder.mkdir(parents=True)
        (folder / f"{index:06}.bin").write_bytes(b"%016d" % index)


async def _log(source: str, *, copy: bool) -> dict[str, float]:
    from asynclive import AsyncLive

    async with AsyncLive(isolation="thread") as live:  # all of its memory is in this process
        start = resident_mib()
        await live.log_artifact(source, type="dataset", name="artifact", copy=copy)
        return {"start_mib": start, "peak_mib": peak_mib()}


BENCH = Memory()
