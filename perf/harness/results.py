"""The result files: one JSON file a result, with the machine it was measured on.

``perf/results`` is committed, and the report is made from it. Only a full run writes there: at
full scale, with every pair. Short and scaled runs write to ``perf/results/short``, which Git
ignores, so that trying a bench never replaces its result.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from perf.harness import machine

FULL = Path(__file__).resolve().parents[1] / "results"
SHORT = FULL / "short"


def write(
    result: str,
    payload: dict[str, Any],
    work_dir: Path,
    *,
    full: bool = True,
    out: Path | None = None,
) -> Path:
    """Write ``<result>.json`` atomically, and return its path.

    Args:
        result: The name of the file.
        payload: The measured numbers; they are added to ``bench``, ``taken``, ``full`` and
            ``machine``.
        work_dir: The directory that the bench worked in; its file system is recorded.
        full: False for a scaled or a short run, which stays out of ``perf/results``.
        out: Another directory to write to.
    """
    target = directory(full=full, out=out) / f"{result}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "bench": result,
        "taken": datetime.now(timezone.utc).date().isoformat(),
        "full": full,
        "machine": machine.describe(work_dir),
        **payload,
    }
    temp = target.with_suffix(".tmp")
    temp.write_text(json.dumps(document, indent=2) + "\n")
    os.replace(temp, target)
    return target


def read(result: str, directory: Path = FULL) -> dict[str, Any] | None:
    """Return the content of a result file, or None if there is no such file."""
    try:
        document: dict[str, Any] = json.loads((directory / f"{result}.json").read_text())
    except FileNotFoundError:
        return None
    return document


def exists(result: str, directory: Path) -> bool:
    """Return whether a directory has a result, and print so if it has."""
    path = directory / f"{result}.json"
    if path.exists():
        print(f"{result}: in {directory.name}/ already", flush=True)
    return path.exists()


def directory(*, full: bool, out: Path | None = None) -> Path:
    """Return the directory for full results, or for the others; ``out`` overrides both."""
    return out or (FULL if full else SHORT)
