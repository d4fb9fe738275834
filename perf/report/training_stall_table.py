"""The table of ``training_stall``."""

from __future__ import annotations

from pathlib import Path

from perf.report.cells import NONE, table
from perf.report.documents import has_stall_goals, training_stall_documents


def training_stall(directory: Path) -> str:
    header = ["checkpoint", "side", *_STALL_STEPS, "blocked, ms", "most, ms"]
    rows = []
    for document in training_stall_documents(directory):
        sides = document["sides"]
        for side, measured in sides.items():
            if measured.get("skipped"):
                continue
            quiet = measured["quiet_ms"]
            step, blocked = measured["step_ms"], measured["blocked_ms"]
            rows.append(
                [
                    document["title"],
                    _STALL_SIDES.get(side, side),
                    *(
                        f"{step[key]['median']:.1f} ({quiet[key]['median']:.1f})"
                        for key in ("median", "mean")
                    ),
                    *(f"{step[key]['median']:.1f}" for key in ("p99", "max")),
                    *(
                        "" if side == "none" else f"{blocked[key]['median']:.1f}"
                        for key in ("median", "max")
                    ),
                    _judged(measured["bytes"]),
                ]
            )
        if not has_stall_goals(document):
            continue
        goals = document["goals"]
        nothing, copy = sides["none"]["step_ms"], sides["copy"]["blocked_ms"]["median"]["median"]
        rows.append(
            [
                document["title"],
                "goal for asynclive",
                *(
                    f"≤ {goals[f'{key}_step'] * nothing[key]['median']:.1f}"
                    for key in ("median", "mean")
                ),
                "",
                "",
                f"≤ {goals['times_the_copy'] * copy:.1f}; move ≤ {goals['move_ms']:g}",
                "",
                "all right",
            ]
        )
    if not rows:
        return NONE
    return table([*header, "bytes logged"], rows)


_STALL_STEPS = ("step (quiet), ms", "mean (quiet)", "p99", "max")
_STALL_SIDES = {
    "none": "not logged",
    "copy": "copied, not logged",
    "asynclive-thread": 'asynclive, isolation="thread"',
    "asynclive-move": "asynclive, move=True",
    "naive": "dvclive in a thread",
    "dcp": "PyTorch DCP, async_save",
}


def _judged(found: dict[str, int] | None) -> str:
    """Return how many checkpoints were right, and how the others are judged."""
    if not found:
        return ""
    total = sum(found.values())
    others = [f"{found[what]} {what}" for what in ("torn", "wrong", "none") if found.get(what)]
    return ", ".join([f"{found.get('right', 0)} of {total} right", *others])
