"""The picture of ``training_stall``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from perf.report.documents import has_stall_goals, training_stall_documents
from perf.report.missed_goals import OURS
from perf.report.palette import COLOURS, GOAL, HATCHES, short

_JUDGED = {"right": "#0072B2", "torn": "#D55E00", "wrong": "#E69F00", "none": "#999999"}


def training_stall(directory: Path) -> Figure | None:
    """Draw how long the loop waits, how long its steps are, and which bytes were logged."""
    documents = [each for each in training_stall_documents(directory) if has_stall_goals(each)]
    if not documents:
        return None
    rows = len(documents)
    figure, axes = plt.subplots(
        rows,
        3,
        figsize=(9.8, 0.7 + 2.1 * rows),
        layout="constrained",
        squeeze=False,
        width_ratios=(1.25, 1.25, 0.8),
    )
    for (blocked, steps, bytes_), document in zip(axes, documents, strict=True):
        sides = {k: v for k, v in document["sides"].items() if not v.get("skipped")}
        _blocked(blocked, document, sides)
        _steps(steps, document, sides)
        _bytes(bytes_, sides)
        for ax in (blocked, steps, bytes_):
            ax.set_ylim(len(sides) - 0.4, -0.8)
            ax.tick_params(axis="y", length=0)
        blocked.set_yticks(range(len(sides)), list(sides))
        steps.set_yticks([])
        bytes_.set_yticks([])
    axes[0][1].set_title("steps, ms: median, p99 (|), longest (x)", loc="left")
    axes[0][2].set_title("checkpoints logged", loc="left")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in _JUDGED.values()]
    figure.legend(handles, list(_JUDGED), fontsize=8.5, ncols=4, loc="outside lower right")
    figure.suptitle(
        "A training loop that logs its checkpoints (shorter is better; ▼ and dotted: goals)",
        fontsize=11,
    )
    return figure


def _blocked(ax: Axes, document: dict[str, Any], sides: dict[str, Any]) -> None:
    """Draw the milliseconds for which logging one checkpoint blocks the loop."""
    for row, (side, measured) in enumerate(sides.items()):
        if side == "none":
            continue
        blocked = {key: each["median"] for key, each in measured["blocked_ms"].items()}
        ax.barh(
            row,
            max(blocked["median"], 0.1),
            color=COLOURS[side],
            hatch=HATCHES.get(side),
            edgecolor="white",
            height=0.78,
        )
        ax.plot([max(blocked["median"], 0.1), blocked["max"]], [row, row], color="#222222", lw=1)
        ax.annotate(
            short(blocked["median"]),
            (max(blocked["max"], 0.1), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    goals = document["goals"]
    most = goals["times_the_copy"] * sides["copy"]["blocked_ms"]["median"]["median"]
    for side in OURS:
        if side in sides:
            goal = goals["move_ms"] if side == "asynclive-move" else most
            ax.plot([goal], [list(sides).index(side) - 0.42], "v", color=GOAL, markersize=5)
    ax.set_xscale("log")
    ax.set_xlim(0.1, ax.get_xlim()[1] * 5)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.set_title(f"{document['title']}: blocked for, ms", loc="left")


def _steps(ax: Axes, document: dict[str, Any], sides: dict[str, Any]) -> None:
    """Draw the milliseconds that a step takes while logging is in flight."""
    for row, (side, measured) in enumerate(sides.items()):
        step = {key: each["median"] for key, each in measured["step_ms"].items()}
        ax.plot([step["median"], step["max"]], [row, row], color=COLOURS[side], lw=1)
        for key, mark, size in (("median", "o", 6), ("p99", "|", 10), ("max", "x", 5)):
            ax.plot([step[key]], [row], mark, color=COLOURS[side], markersize=size)
    nothing = sides["none"]["step_ms"]["median"]["median"]
    ax.axvline(document["goals"]["median_step"] * nothing, color=GOAL, linestyle=":", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(
        FixedLocator([tick for tick in (5, 10, 20, 50, 100, 200, 500, 1000) if low < tick < high])
    )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _bytes(ax: Axes, sides: dict[str, Any]) -> None:
    """Draw how many checkpoints were logged with their own bytes."""
    for row, measured in enumerate(sides.values()):
        left = 0
        for what, colour in _JUDGED.items():
            count = (measured["bytes"] or {}).get(what, 0)
            ax.barh(row, count, left=left, color=colour, edgecolor="white", height=0.78)
            left += count
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
