"""The runs of a workload's sides, and what may be said of them: medians, spreads, ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from perf.harness.repository import Repository, RunFailedError, fresh_repository
from perf.harness.results import spread
from perf.harness.sources import make, place
from perf.harness.standard_workloads import Workload
from perf.harness.work_dir import runs_dir

Side = TypeVar("Side")
Run = dict[str, Any]
"""What one run has measured."""

MIN_PAIRS = 3  # fewer runs say nothing about spread, so no ratio is made from them


@dataclass
class Series:
    """All runs of one side on one workload, in the order they ran."""

    side: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    skipped: str | None = None
    """Why it cannot run here."""
    failure: str | None = None
    """What went wrong."""

    @property
    def ended(self) -> bool:
        return bool(self.skipped or self.failure)

    @property
    def seconds(self) -> list[float]:
        return [run["seconds"] for run in self.runs]


@dataclass
class WorkloadResult:
    """The sides of one workload, run interleaved."""

    workload: Workload
    scale: float
    pairs: int
    series: dict[str, Series]

    @property
    def failed(self) -> bool:
        return any(series.failure for series in self.series.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload.name,
            "title": self.workload.title,
            "bytes": sum(each.size for each in self.workload.sources(self.scale)),
            "scale": self.scale,
            "pairs": self.pairs,
            "goals": asdict(self.workload.goals),
            "sides": {side: self._side(series) for side, series in self.series.items()},
        }

    def _side(self, series: Series) -> dict[str, Any]:
        measured = not series.ended
        return {
            "seconds": spread(series.seconds) if measured else None,
            "peak_mib": max(run["rss_peak_mib"] for run in series.runs) if measured else None,
            "skipped": series.skipped,
            "failure": series.failure,
            "times_faster_than_dvclive": ratio(self.series.get("dvclive"), series),
            "times_the_floor": ratio(series, self.series.get("floor")),
            "runs": series.runs,
        }


def ratio(slow: Series | None, fast: Series | None) -> dict[str, float] | None:
    """How many times longer ``slow`` takes: ratio of medians, the least and most of one pair.

    None from fewer than ``MIN_PAIRS`` pairs, and for a side with itself.
    """
    if slow is None or fast is None or slow is fast or slow.ended or fast.ended:
        return None
    return times(slow.seconds, fast.seconds)


def times(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float] | None:
    """How many times as much one is as the other: of medians, the least and most of one pair.

    None from fewer than ``MIN_PAIRS`` pairs.
    """
    each = [a / b for a, b in zip(slow, fast, strict=False)]
    if len(each) < MIN_PAIRS:
        return None
    return {"median": median(slow) / median(fast), "min": min(each), "max": max(each)}


def in_turn(
    work_dir: Path,
    sides: Sequence[Side],
    pairs: int,
    run: Callable[[Repository, Side], Run],
    said: Callable[[Side, Run], str],
) -> dict[Side, list[Run]]:
    """Let the sides take turns, so often, each run in a fresh repository; says how each went.

    Raises:
        RunFailedError: one ended with an error.
    """
    runs: dict[Side, list[Run]] = {side: [] for side in sides}
    with runs_dir(work_dir) as where:
        for pair in range(1, pairs + 1):
            for side in sides:
                try:
                    with fresh_repository(where) as repository:
                        one = run(repository, side)
                except RunFailedError as error:
                    raise RunFailedError(f"{side}: {error}") from error
                runs[side].append(one)
                print(f"  {pair}/{pairs}  {said(side, one)}", flush=True)
    return runs


def of_case(
    script: str,
    case: Workload,
    scale: float,
    pairs: int,
    sides: Sequence[str],
    work_dir: Path,
    said: Callable[[str, Run], str],
) -> dict[str, list[Run]]:
    """The same with the sources of a workload, for a script that takes its side by ``--run``."""
    sources = case.sources(scale)
    name = f"{script.rpartition('.')[2]}-{case.name}-{scale:g}"
    made = make(sources, work_dir / "sources" / name, case.name)

    def run(repository: Repository, side: str) -> Run:
        here = place(sources, made, repository.path, in_place=case.in_place)
        arguments = ("--run", side, "--case", case.name, "--sources", here, "--scale", scale)
        return repository.run(script, *arguments)

    return in_turn(work_dir, sides, pairs, run, said)
