"""How long does a copy take where the file system shares blocks?

    python -m perf reflink
    python -m perf reflink --gib 2 --pairs 3 --dir DIR

Logs a file with ``copy=True`` on XFS, mounted from a file in DIR, and measures the time and the
used space. ``hash`` is one thread's MD5 of the source. DVC's format asks for it, so no logger is
faster. The sides take turns, each run in a fresh process and a fresh repository. The bench needs
root and mkfs.xfs; without them it says so and ends without an error.
"""

from __future__ import annotations

import hashlib
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from typing import Any

from perf.harness.bench import Bench, Job, SkippedError
from perf.harness.clock import PrewarmedClock
from perf.harness.loop_filesystem import NotPossibleError, mounted, used_bytes
from perf.harness.ratios import MIN_PAIRS, spread
from perf.harness.repository import fresh_repository
from perf.harness.turns import Run, take_turns
from perf.harness.units import GIB, KIB, MIB
from perf.harness.workload import Call
from perf.sides.asynclive import ASYNCLIVE
from perf.sides.dvclive import DVCLIVE

LOGGERS = {side.name: side for side in (ASYNCLIVE, DVCLIVE)}
FULL_GIB, SHORT_GIB = 2.0, 0.25


class Reflink(Bench):
    name = "reflink"
    sides = ("hash", *LOGGERS)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gib", type=float, help=f"size of the file (default: {FULL_GIB:g})")

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and _gib(args) == FULL_GIB

    def run(self, job: Job) -> dict[str, Any]:
        size = int(_gib(job.args) * GIB)
        try:
            # The source, the copy and the object of DVCLive, and as much again.
            with mounted("xfs", 4 * size + GIB, job.work_dir) as disk:
                runs = self._measure_on(disk, size, job.pairs)
        except NotPossibleError as error:
            raise SkippedError(str(error)) from error
        return {
            "bytes": size,
            "pairs": job.pairs,
            "sides": {side: _together(each, runs["hash"]) for side, each in runs.items()},
        }

    def _measure_on(self, disk: Path, size: int, pairs: int) -> dict[str, list[Run]]:
        source = disk / "checkpoint.pt"
        with source.open("wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))

        def run(side: str) -> Run:
            with fresh_repository(disk) as repository:
                before = used_bytes(disk)
                run = repository.run(self.name, side=side, source=source)
                return {**run, "used_mib": (used_bytes(disk) - before) / MIB}

        return take_turns(self.sides, pairs, run, _describe)

    def measure(self, **given: Any) -> dict[str, Any]:
        side, source = given["side"], Path(given["source"])
        clock = PrewarmedClock(2 * source.stat().st_size)
        _hash(source)  # into the page cache
        if side == "hash":
            with clock:
                _hash(source)
        else:
            options = {"type": "model", "name": "model", "copy": True}
            LOGGERS[side].log([Call(source, options)], clock)
        return {
            "seconds": clock.seconds,
            "user_seconds": clock.user_seconds,
            "system_seconds": clock.system_seconds,
        }

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"{side:<10} {each['median']:6.2f} s  {_said(each['ratio_to_hash'])}, "
            f"{each['used_mib']:.1f} MiB more used"
            for side, each in document["sides"].items()
        )


def _gib(args: Namespace) -> float:
    default = SHORT_GIB if args.short else FULL_GIB
    gib: float = default if args.gib is None else args.gib
    return gib


def _together(runs: list[Run], hashes: list[Run]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    ratio = median(seconds) / median(run["seconds"] for run in hashes)
    return {
        **spread(seconds),
        "ratio_to_hash": ratio if len(seconds) >= MIN_PAIRS else None,
        "used_mib": max(run["used_mib"] for run in runs),
    }


def _said(ratio: float | None) -> str:
    return "no ratio from so few pairs" if ratio is None else f"{ratio:.2f} x the hash"


def _describe(side: str, run: Run) -> str:
    return f"{side:<10} {run['seconds']:6.2f} s  {run['used_mib']:8.1f} MiB more used"


def _hash(source: Path) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(256 * KIB))
    with source.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            md5.update(buffer[:count])


BENCH = Reflink()
