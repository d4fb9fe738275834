"""Write the tables into the pages, between their markers.

A marked part begins with ``<!-- results: NAME -->`` and ends with ``<!-- end -->``. The text
between them is replaced. The names are those of ``PARTS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from perf.harness import results
from perf.report import bench_tables, workload_tables
from perf.report.missed_goals import missed_goals, missed_training_goals
from perf.report.push_table import push
from perf.report.training_stall_table import training_stall

ROOT = Path(__file__).resolve().parents[2]

PARTS: dict[str, Callable[[Path], str]] = {
    "machine": workload_tables.machine,
    "missed-goals": missed_goals,
    "missed-training-goals": missed_training_goals,
    "workloads": workload_tables.workloads,
    "speed": workload_tables.speed,
    "speed_short": workload_tables.speed_short,
    "readme-speed": workload_tables.readme_speed,
    "scaling": bench_tables.scaling,
    "many_processes": bench_tables.many_processes,
    "loop_lag": bench_tables.loop_lag,
    "workers": bench_tables.workers,
    "memory": bench_tables.memory,
    "import_time": bench_tables.import_time,
    "reflink": bench_tables.reflink,
    "large_in_flight": bench_tables.large_in_flight,
    "durable": bench_tables.durable,
    "cancel_latency": bench_tables.cancel_latency,
    "command_line": bench_tables.command_line,
    "dvc_status": bench_tables.dvc_status,
    "isolation": bench_tables.isolation,
    "events": bench_tables.events,
    "push": push,
    "training_stall": training_stall,
    "chunk_size": bench_tables.chunk_size,
}

_PART = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the files that may have marked parts."""
    return [ROOT / "README.md", ROOT / "perf" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def fill_all(directory: Path = results.FULL) -> list[Path]:
    """Write the results in ``directory`` into all pages; return the pages that changed."""
    changed = []
    for path in pages():
        before = path.read_text()
        after = filled(before, directory)
        if after != before:
            path.write_text(after)
            changed.append(path)
    return changed


def filled(text: str, directory: Path) -> str:
    """Return ``text`` with its marked parts made from the results in ``directory``."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{PARTS[found[2]](directory)}{found[3]}"

    return _PART.sub(part, text)
