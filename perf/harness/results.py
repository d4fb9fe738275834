"""Where results are kept: one JSON file a bench, with the machine they were taken on.

What is in ``perf/results/`` is committed, and the README is made from it. Only a full run
writes there: one at full scale, with every pair. Short and scaled runs write to
``perf/results/short/``, which Git ignores, so that trying a bench never replaces its result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from perf.harness import machine

FULL = Path(__file__).resolve().parents[1] / "results"
SHORT = FULL / "short"


def write(
    bench: str,
    payload: dict[str, Any],
    work_dir: Path,
    *,
    full: bool = True,
    out: Path | None = None,
) -> Path:
    """Write ``<bench>.json``, whole or not at all, and return its path.

    Args:
        bench: The name of the bench, and of the file.
        payload: What was measured; goes beside ``bench``, ``taken``, ``full`` and ``machine``.
        work_dir: Where the bench ran, for the file system it is on.
        full: False for a scaled or a short run, which is kept out of ``perf/results/``.
        out: Another directory.
    """
    target = directory(full=full, out=out) / f"{bench}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "bench": bench,
        "taken": datetime.now(timezone.utc).date().isoformat(),
        "full": full,
        "machine": machine.describe(work_dir),
        **payload,
    }
    temp = target.with_suffix(".tmp")
    temp.write_text(json.dumps(document, indent=2) + "\n")
    os.replace(temp, target)
    return target


def read(bench: str, directory: Path = FULL) -> dict[str, Any] | None:
    """What ``write`` wrote, or None where there is nothing."""
    try:
        document: dict[str, Any] = json.loads((directory / f"{bench}.json").read_text())
    except FileNotFoundError:
        return None
    return document


def directory(*, full: bool, out: Path | None = None) -> Path:
    return out or (FULL if full else SHORT)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median, the least and the most of the runs, and the runs in their order."""
    return {
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "runs": list(values),
    }
