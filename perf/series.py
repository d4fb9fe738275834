"""The runs of a workload's sides, and what may be said of them: medians, spreads, ratios."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from results import spread
from workloads import Workload

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
    pairs = list(zip(slow.seconds, fast.seconds, strict=False))
    if len(pairs) < MIN_PAIRS:
        return None
    each = [a / b for a, b in pairs]
    of_medians = spread(slow.seconds)["median"] / spread(fast.seconds)["median"]
    return {"median": of_medians, "min": min(each), "max": max(each)}
