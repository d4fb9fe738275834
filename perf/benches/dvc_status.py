"""How long does ``dvc status`` take after asynclive, and after ``dvc add``?

    python -m perf dvc_status
    python -m perf dvc_status --files 10000 --pairs 3 --dir DIR

Both have to find that nothing changed without reading a file again. The same directory of files of
16 KiB and one file of 256 MiB are tracked in two fresh repositories, one by asynclive and one by
``dvc add``. Then ``dvc status`` runs in the one and the other in turns.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.ratios import ratio, spread
from perf.harness.repository import Repository, fresh_repository
from perf.harness.turns import Run, take_turns
from perf.harness.units import KIB, MIB
from perf.harness.work_dir import runs_dir
from perf.sides.dvc_add import dvc_add, execute

FULL_FILES, SHORT_FILES = 10_000, 1_000
PATHS = ["data", "large.bin"]


class DvcStatus(Bench):
    name = "dvc_status"
    sides = ("dvc add", "asynclive")
    short_pairs = 1

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--files", type=int, help=f"of the directory (default: {FULL_FILES})")

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and _files(args) == FULL_FILES

    def run(self, job: Job) -> dict[str, Any]:
        files = _files(job.args)
        with ExitStack() as stack:
            where = stack.enter_context(runs_dir(job.work_dir))
            repositories = {
                side: stack.enter_context(fresh_repository(where)) for side in self.sides
            }
            for repository in repositories.values():
                _make(repository, files)
            execute(repositories["dvc add"], dvc_add(PATHS))
            repositories["asynclive"].run(self.name)

            def run(side: str) -> Run:
                return {"seconds": _status_seconds(repositories[side])}

            runs = take_turns(self.sides, job.pairs, run, _describe)
        seconds = {side: [run["seconds"] for run in each] for side, each in runs.items()}
        found = ratio(seconds["asynclive"], seconds["dvc add"])
        return {
            "files": files,
            "pairs": job.pairs,
            "sides": {side: spread(each) for side, each in seconds.items()},
            "ratio": found["median"] if found else None,
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        asyncio.run(_log())
        return {}

    def summary(self, document: dict[str, Any]) -> str:
        found = document["ratio"]
        return "no ratio from so few pairs" if found is None else f"ratio {found:.2f}"


def _files(args: Namespace) -> int:
    default = SHORT_FILES if args.short else FULL_FILES
    files: int = default if args.files is None else args.files
    return files


def _make(repository: Repository, files: int) -> None:
    rng = random.Random("status")
    for index in range(files):
        folder = repository.path / "data" / f"{index // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:06}.bin").write_bytes(rng.randbytes(16 * KIB))
    with (repository.path / "large.bin").open("wb") as file:
        for _ in range(256):
            file.write(rng.randbytes(MIB))


async def _log() -> None:
    from asynclive import AsyncLive

    async with AsyncLive() as live:
        for path in PATHS:
            await live.log_artifact(path)


def _status_seconds(repository: Repository) -> float:
    os.sync()
    start = time.perf_counter()
    printed = execute(repository, [sys.executable, "-m", "dvc", "status"])
    seconds = time.perf_counter() - start
    if "up to date" not in printed:
        raise SystemExit(f"Not up to date: {printed}")
    return seconds


def _describe(side: str, run: Run) -> str:
    return f"{side:<10} {run['seconds']:.2f} s"


BENCH = DvcStatus()
