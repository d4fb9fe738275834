"""The table of the bench ``push``: a row for each case and side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perf.report.cells import NONE, ratio, span, table
from perf.report.documents import Document, push_documents

_COMPARED = {
    "times_faster_than_dvc": "times faster than `dvc push`",
    "times_s5cmd": "times s5cmd",
    "times_rclone": "times rclone",
    "times_the_slower": "times the slower of the two",
}
_NUMBERS = {
    "lag_p99_ms": "lag of the event loop, p99: {} ms",
    "above_mib": "memory: {} MiB more",
    "resent_share": "share of the bytes that were sent again: {}",
    "mib_per_second": "{} MiB a second",
}


def push(directory: Path) -> str:
    rows = [row for each in push_documents(directory) for row in _rows(each)]
    return table(["pushed", "by", "seconds", "further"], rows) if rows else NONE


def _rows(document: Document) -> list[list[str]]:
    rows = []
    for side, measured in document["sides"].items():
        if "seconds" not in measured:
            continue
        further = [
            text.format(span(measured[number]))
            for number, text in _NUMBERS.items()
            if number in measured
        ]
        if side in ("asynclive", "log and push"):
            further += _compared(document["compared"])
        rows.append([document["title"], side, span(measured["seconds"]), "; ".join(further)])
    return rows


def _compared(compared: dict[str, Any]) -> list[str]:
    return [f"{ratio(times, 2)} {_COMPARED[name]}" for name, times in compared.items()]
