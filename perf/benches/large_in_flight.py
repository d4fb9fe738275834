"""How long does a small artifact take while a very large one is in flight?

    python -m perf large_in_flight
    python -m perf large_in_flight --rounds 3 --count 30 --dir DIR

In flight is a directory of 100 files of 1 GB, or one of 50,000 files of 16 KiB. The files of 1 GB
are sparse and equal, so that the cache holds one of them at most, apart from those being written.
Small artifacts of 1 KiB and of 1 MiB are logged one after the other: first alone, then while the
large one is in flight. Then the large call is cancelled, and the time of that is measured too. Each
round is a fresh process and a fresh repository.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from perf.harness.bench import Bench, Job
from perf.harness.ratios import MIN_PAIRS, spread
from perf.harness.repository import Repository
from perf.harness.turns import Run, take_turns_in_repositories
from perf.harness.units import KIB, MIB

if TYPE_CHECKING:
    from asynclive import AsyncLive

# The number of files, the bytes of each, and whether they are sparse.
LARGE = {
    "100 x 1 GB": (100, 10**9, True),
    "50,000 x 16 KiB": (50_000, 16 * KIB, False),
}
SMALL = {"1 KiB": KIB, "1 MiB": MIB}
FULL_COUNT, SHORT_COUNT = 30, 5
# Between two checks whether the large artifact is under way.
_CHECK_SECONDS = 0.01


class LargeInFlight(Bench):
    name = "large_in_flight"
    cases = tuple(LARGE)
    sides = tuple(SMALL)
    short_pairs = 1

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--count", type=int, help=f"small artifacts of each size (default: {FULL_COUNT})"
        )

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and _count(args) >= FULL_COUNT

    def run(self, job: Job) -> dict[str, Any]:
        count = _count(job.args)

        def run(repository: Repository, large: str) -> Run:
            _make_large(repository.path / "large", *LARGE[large])
            for phase in ("warm", "alone", "in_flight"):
                for small, size in SMALL.items():
                    for index in range(count):
                        path = _small_path(repository.path, phase, small, index)
                        path.write_bytes(os.urandom(size))
            return repository.run(self.name, count=count)

        cases = []
        for large in LARGE:
            rounds = take_turns_in_repositories(job.work_dir, [large], job.pairs, run, _describe)
            cases += [_case(large, small, rounds[large]) for small in SMALL]
        return {"rounds": job.pairs, "cases": cases}

    def measure(self, **given: Any) -> dict[str, Any]:
        return asyncio.run(_measure(given["count"]))

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(_line(case) for case in document["cases"])


def _count(args: Namespace) -> int:
    default = SHORT_COUNT if args.short else FULL_COUNT
    count: int = default if args.count is None else args.count
    return count


def _case(large: str, small: str, rounds: list[Run]) -> dict[str, Any]:
    """Return a row of the result. ``in_flight``: seconds while the large one is in flight."""
    alone = [seconds for run in rounds for seconds in run["alone"][small]]
    in_flight = [seconds for run in rounds for seconds in run["in_flight"][small]]
    return {
        "large": large,
        "small": small,
        "alone": spread(alone),
        "in_flight": spread(in_flight),
        "ratio": median(in_flight) / median(alone) if len(rounds) >= MIN_PAIRS else None,
        "cancel_seconds": spread([run["cancel_seconds"] for run in rounds]),
    }


def _line(case: dict[str, Any]) -> str:
    alone, in_flight, ratio = case["alone"], case["in_flight"], case["ratio"]
    said = "no ratio from so few rounds" if ratio is None else f"{ratio:.2f} x"
    return (
        f"{case['large']}, {case['small']}: "
        f"alone {alone['median'] * 1e3:6.1f} ms (max {alone['max'] * 1e3:.0f})  "
        f"in flight {in_flight['median'] * 1e3:6.1f} ms (max {in_flight['max'] * 1e3:.0f})  {said}"
    )


def _describe(large: str, run: Run) -> str:
    return f"{large}: cancelled within {run['cancel_seconds']:.2f} s"


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


async def _measure(count: int) -> dict[str, Any]:
    from asynclive import AsyncLive

    async with AsyncLive() as live:
        await _log_small(live, "warm", 1)
        alone = await _log_small(live, "alone", count)
        large = asyncio.create_task(live.log_artifact("large", type="dataset"))
        # Under way: its directory is scanned, and all threads it may have are at work.
        now = live.statistics()
        while now.busy_workers < now.total_workers - 1 or not now.staging:
            await asyncio.sleep(_CHECK_SECONDS)
            now = live.statistics()
        in_flight = await _log_small(live, "in_flight", count)
        if large.done():
            raise SystemExit("The large artifact was logged before the small ones were.")
        start = time.perf_counter()
        large.cancel()
        await asyncio.wait([large])
        cancel_seconds = time.perf_counter() - start
    _check_nothing_left()
    return {"alone": alone, "in_flight": in_flight, "cancel_seconds": cancel_seconds}


def _check_nothing_left() -> None:
    left = [*Path(".dvc/cache").glob("**/.asynclive-*/*"), *Path(".dvc/tmp").glob("asynclive-*/*")]
    if left or Path("large.dvc").exists():
        raise SystemExit(f"The cancelled call left files: {left}")


async def _log_small(live: AsyncLive, phase: str, count: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {small: [] for small in SMALL}
    for index in range(count):
        for small in SMALL:
            path = _small_path(Path(), phase, small, index)
            start = time.perf_counter()
            await live.log_artifact(path, type="model")
            seconds[small].append(time.perf_counter() - start)
    return seconds


BENCH = LargeInFlight()
