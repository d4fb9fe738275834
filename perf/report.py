"""Medians, spreads and ratios of what was run, as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

MIN_PAIRS = 3  # fewer runs say nothing about spread, so no ratio is made from them


@dataclass
class Series:
    """All runs of one side on one workload, in the order they ran."""

    side: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None

    @property
    def seconds(self) -> list[float]:
        return [run["seconds"] for run in self.runs]


@dataclass
class WorkloadResult:
    """The sides of one workload, run interleaved."""

    name: str
    title: str
    size: int
    scale: float
    pairs: int
    series: dict[str, Series]

    def as_json(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "title": self.title,
            "bytes": self.size,
            "scale": self.scale,
            "pairs": self.pairs,
            "sides": {
                side: {
                    "median_seconds": median(series.seconds) if series.runs else None,
                    "failure": series.failure,
                    "ratio_to_dvclive": ratio(self.series.get("dvclive"), series),
                    "runs": series.runs,
                }
                for side, series in self.series.items()
            },
        }


def ratio(slow: Series | None, fast: Series) -> tuple[float, float, float] | None:
    """How many times faster: ratio of medians, then the least and the most of one pair.

    None from fewer than ``MIN_PAIRS`` pairs.
    """
    if slow is None or slow.failure or fast.failure:
        return None
    if min(len(slow.runs), len(fast.runs)) < MIN_PAIRS:
        return None
    each = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return median(slow.seconds) / median(fast.seconds), min(each), max(each)


_HEADER = ("", "median", "min - max", "MiB/s", "vs dvclive", "of each pair", "vs floor", "peak MiB")
_WIDTHS = (10, 9, 15, 8, 10, 15, 9, 9)


def table(result: WorkloadResult) -> str:
    """The workload as an aligned table."""
    scaled = f", at scale {result.scale:g}: no result" if result.scale != 1 else ""
    lines = [f"{result.title} (medians of {result.pairs}{scaled})", _row(_HEADER)]
    for series in result.series.values():
        if series.failure:
            lines.append(f"  {series.side:<10}  failed: {series.failure}")
            continue
        middle = median(series.seconds)
        low, high = min(series.seconds), max(series.seconds)
        rate = result.size / 2**20 / middle
        slow = None if series.side == "dvclive" else result.series.get("dvclive")
        gain = ratio(slow, series)
        over = ratio(series, result.series["floor"]) if "floor" in result.series else None
        lines.append(
            _row(
                (
                    series.side,
                    f"{middle:.2f} s",
                    f"{low:.2f} - {high:.2f}",
                    f"{rate:.0f}" if rate >= 1 else "",
                    f"{gain[0]:.1f}x" if gain else "",
                    f"{gain[1]:.1f} - {gain[2]:.1f}" if gain else "",
                    f"{over[0]:.2f}" if over else "",
                    f"{max(run['rss_peak_mib'] for run in series.runs):.0f}",
                )
            )
        )
    if result.pairs < MIN_PAIRS:
        lines.append(f"  No ratios: they need at least {MIN_PAIRS} pairs.")
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    )
    return ("  " + "  ".join((first, *rest))).rstrip()
