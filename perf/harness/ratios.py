"""Medians, spreads and ratios of runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

MIN_PAIRS = 3  # fewer runs have no spread to speak of, so no ratio is made from them


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median, the least, the most, and the runs in their order."""
    return {
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "runs": list(values),
    }


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float] | None:
    """Return the ratio of the medians, and the least and the most of single pairs.

    None from fewer than ``MIN_PAIRS`` pairs.
    """
    pairs = [a / b for a, b in zip(slow, fast, strict=False)]
    if len(pairs) < MIN_PAIRS:
        return None
    return {"median": median(slow) / median(fast), "min": min(pairs), "max": max(pairs)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values are below, with ``share`` from 0 to 1."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
