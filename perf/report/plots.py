"""Draw the results in a directory, as PNG files in the same directory.

A side has the same colour in all pictures. The colours are those of Okabe and Ito, which readers
with colour blindness can tell apart. Hatches and dashes say the same in print.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from perf.harness import results
from perf.report.documents import workload_documents
from perf.report.palette import COLOURS, DASHES, GOAL, HATCHES, short
from perf.report.training_stall_plot import training_stall

DPI = 110


def draw_all(directory: Path) -> list[Path]:
    """Draw every picture that there are results for; return the paths."""
    drawn = []
    for name, draw in PICTURES.items():
        figure = draw(directory)
        if figure is None:
            continue
        path = directory / f"{name}.png"
        # No date, so that the same results give the same file.
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        plt.close(figure)
        # A palette is all that such pictures need, and a third of the bytes in Git.
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(64)
        small.save(path, optimize=True)
        drawn.append(path)
    return drawn


def workloads(directory: Path) -> Figure | None:
    """Draw bars by workload, each on a scale of its own, with the goal marked."""
    documents = [
        each
        for each in workload_documents(directory)
        if any(one["seconds"] for one in each["sides"].values())
    ]
    if not documents:
        return None
    rows = (len(documents) + 1) // 2
    figure, axes = plt.subplots(
        rows, 2, figsize=(9.4, 0.5 + 1.55 * rows), layout="constrained", squeeze=False
    )
    for ax, document in zip(axes.flat, documents, strict=False):
        _bars(ax, document)
    for ax in list(axes.flat)[len(documents) :]:
        ax.axis("off")
    figure.suptitle(
        "Seconds to log (shorter is better). Bar: median, line: least to most, ▼: goal for "
        "asynclive, x: times faster than dvclive",
        fontsize=9.5,
    )
    return figure


def _bars(ax: Axes, document: dict[str, Any]) -> None:
    sides = {side: each for side, each in document["sides"].items() if each["seconds"]}
    goal = goal_seconds(document)
    for row, (side, measured) in enumerate(sides.items()):
        seconds = measured["seconds"]
        ax.barh(
            row,
            seconds["median"],
            color=COLOURS[side],
            hatch=HATCHES.get(side),
            edgecolor="white",
            height=0.78,
        )
        ax.plot([seconds["min"], seconds["max"]], [row, row], color="#222222", linewidth=1)
        gain = measured["times_faster_than_dvclive"]
        said, right = f"{short(seconds['median'])} s", seconds["max"]
        if side == "asynclive":
            said += f"   {gain['median']:.1f} x" if gain else ""
            if goal is not None:
                said += f"   (goal {short(goal)} s)"
                right = max(right, goal)
        ax.annotate(
            said,
            (right, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    most = max(each["seconds"]["max"] for each in sides.values())
    ax.set_xlim(0, 1.25 * max(most, goal or 0))
    if goal is not None and "asynclive" in sides:
        middle = list(sides).index("asynclive")
        ax.plot([goal, goal], [middle - 0.55, middle + 0.55], color=GOAL, linewidth=2.2)
        ax.plot([goal], [middle - 0.55], color=GOAL, marker="v", markersize=5)
    scaled = f" (scale {document['scale']:g})" if document["scale"] != 1 else ""
    ax.set_title(f"{document['title']}{scaled}", loc="left", fontsize=8.5)
    ax.set_yticks(range(len(sides)), list(sides))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(4.5, -0.7)  # bars are as thick everywhere


def goal_seconds(document: dict[str, Any]) -> float | None:
    """Return the most seconds that the goals allow, by the baselines of the same run."""
    most = []
    for baseline, times in document["goals"].items():
        measured = document["sides"].get(baseline)
        if times and measured and measured["seconds"]:
            median = measured["seconds"]["median"]
            most.append(median * times if baseline == "floor" else median / times)
    return min(most) if most else None


def scaling(directory: Path) -> Figure | None:
    """Draw the cost of one artifact over the number tracked."""
    document = results.read("scaling", directory)
    if document is None:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 4.2), layout="constrained", sharey=True)
    for ax, how, title in zip(
        axes, ("one_by_one", "gathered"), ("one by one", "100 gathered"), strict=True
    ):
        for side in ("dvclive", "asynclive"):
            for kind, dash, marker in (("new", "-", "o"), ("known", "--", "s")):
                _cost(ax, document, side, f"{kind}_{how}", f"{side}, {_KINDS[kind]}", dash, marker)
        ax.set_xscale("log")
        ax.set_yscale("log")
        _plain(ax, x=(10, 100, 200, 400, 1000, 5000))
        ax.set_xlabel("artifacts tracked already")
        ax.set_title(f"logged {title}", loc="left")
        ax.grid(axis="y", which="major", color="#dddddd", linewidth=0.6)
        ax.legend(fontsize=8, loc="upper left")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high * 6)  # room for the legend
    axes[0].set_ylabel("milliseconds for one artifact")
    figure.suptitle(
        "Cost of one artifact (12 to 24 bytes; lower is better).  ▼ goal at 5,000: 1.3 x at 200.  "
        "Open marks: with 100,000 untracked files",
        fontsize=9.5,
    )
    return figure


_KINDS = {"new": "new", "known": "known, changed"}


def _cost(
    ax: Axes, document: dict[str, Any], side: str, what: str, label: str, dash: str, marker: str
) -> None:
    here = [each for each in document["points"] if each["side"] == side and what in each["seconds"]]
    clean = [(each["tracked"], each["seconds"][what]) for each in here if not each["untracked"]]
    beside = [(each["tracked"], each["seconds"][what]) for each in here if each["untracked"]]
    if not clean:
        return
    colour = COLOURS[side]
    middle = [1000 * each["median"] for _, each in clean]
    below = [1000 * (each["median"] - each["min"]) for _, each in clean]
    above = [1000 * (each["max"] - each["median"]) for _, each in clean]
    ax.errorbar(
        [x for x, _ in clean],
        middle,
        yerr=[below, above],
        color=colour,
        linestyle=dash,
        marker=marker,
        markersize=5,
        capsize=2,
        elinewidth=0.8,
        label=label,
    )
    for x, each in beside:
        ax.plot([x], [1000 * each["median"]], marker=marker, color=colour, mfc="white", ms=7)
    goal = document["goal"]
    at = {x: each["median"] for x, each in clean}
    if side == "asynclive" and goal["against"] in at and goal["tracked"] in at:
        most = 1000 * at[goal["against"]] * goal["times"]
        ax.plot([goal["tracked"]], [most], marker="v", color=GOAL, markersize=6, zorder=5)


def many_processes(directory: Path) -> Figure | None:
    """Draw the rate of all processes together over their number."""
    document = results.read("many_processes", directory)
    if document is None:
        return None
    figure, ax = plt.subplots(figsize=(7.5, 3.9), layout="constrained")
    marks = zip(document["artifacts"], (("-", "o"), ("--", "s")), strict=True)
    for how, (dash, marker) in marks:
        points = [each for each in document["points"] if each["how"] == how]
        rates = [each["per_second"] for each in points]
        processes = [each["processes"] for each in points]
        _rates(ax, processes, rates, dash, marker, how.replace("_", " "))
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    _plain(ax, x=tuple(sorted({each["processes"] for each in document["points"]})))
    ax.set_xlabel("processes that log into one repository")
    ax.set_ylabel("artifacts a second, all together")
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.legend(fontsize=8.5)
    figure.suptitle("Throughput of many processes together (higher is better)", fontsize=11)
    return figure


def loop_lag(directory: Path) -> Figure | None:
    """Draw the share of sleeps that were later than a time."""
    document = results.read("loop_lag", directory)
    if document is None:
        return None
    figure, ax = plt.subplots(figsize=(9.4, 4.6), layout="constrained")
    edges = document["edges_ms"]
    for name, measured in document["sides"].items():
        side, _, backend = name.partition("-")
        total = sum(measured["counts"])
        later, x, y = total, [edges[0] / 2], [1.0]
        for edge, count in zip(edges, measured["counts"], strict=False):
            later -= count
            if later <= 0:
                break
            x.append(edge)
            y.append(later / total)
        most = measured["lag_ms"]["max"]["max"]
        x.append(max(most, x[-1]))
        y.append(y[-1])
        what = _LAGGING.get(side, side)
        ax.plot(
            x,
            y,
            color=COLOURS[side],
            linestyle=DASHES[backend],
            label=f"{what}, {backend} (max {short(most)} ms)",
            linewidth=1.6,
        )
        ax.plot([x[-1]], [y[-1]], color=COLOURS[side], marker="o", markersize=4)
    goals = document["goals_ms"]
    ax.plot([goals["p99"]], [0.01], marker="v", color=GOAL, markersize=8, zorder=5)
    ax.annotate(
        f"goal: p99 ≤ {goals['p99']:g} ms",
        (goals["p99"], 0.01),
        xytext=(7, 6),
        textcoords="offset points",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
    ax.axvline(goals["max"], color=GOAL, linewidth=1.2, linestyle=":")
    ax.annotate(
        f"goal: max ≤ {goals['max']:g} ms",
        (goals["max"], 0.5),
        xytext=(5, 0),
        textcoords="offset points",
        fontsize=8.5,
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(left=0.02)
    _plain(ax, x=(0.1, 1, 10, 100, 1000))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    ax.set_xlabel("lag: how much longer than 1 ms a sleep of 1 ms took, in ms")
    ax.set_ylabel("share of sleeps that were later")
    ax.legend(fontsize=8.5, loc="lower left")
    ax.grid(color="#e4e4e4", linewidth=0.6)
    scale = document["scale"]
    scaled = f" (scale {scale:g})" if scale != 1 else ""
    figure.suptitle(
        f"Lag of the event loop while 10,000 small files and 4 x 256 MiB are logged{scaled}",
        fontsize=11,
    )
    return figure


_LAGGING = {
    "idle": "nothing logged",
    "hashing": "2 threads hash",
    "threads": 'asynclive, isolation="thread"',
}


def workers(directory: Path) -> Figure | None:
    """Draw the throughput over the number of workers."""
    document = results.read("workers", directory)
    if document is None:
        return None
    figure, ax = plt.subplots(figsize=(7.5, 3.9), layout="constrained")
    ticks: set[int] = set()
    marks = (("-", "o"), ("--", "s"))
    for workload, (dash, marker) in zip(document["workloads"], marks, strict=False):
        points = [each for each in workload["points"] if each["mib_per_second"]]
        x = [each["workers"] for each in points]
        ticks |= set(x)
        rates = [each["mib_per_second"] for each in points]
        _rates(ax, x, rates, dash, marker, workload["title"])
    cores = document["machine"]["cpus"]
    ax.axvline(cores, color=GOAL, linestyle=":", linewidth=1)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.annotate(
        f"{cores} cores",
        (cores, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8.5,
    )
    _plain(ax, x=tuple(sorted(ticks)))
    ax.set_xlabel("workers")
    ax.set_ylabel("MiB a second of source")
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.legend(fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    figure.suptitle("Throughput over the number of workers (higher is better)", fontsize=11)
    return figure


def memory(directory: Path) -> Figure | None:
    """Draw the peak memory above the start, over the size and over the number of files."""
    document = results.read("memory", directory)
    if document is None:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.8), layout="constrained", sharey=True)
    one = [case for case in document["cases"] if case["files"] == 1]
    many = [case for case in document["cases"] if case["files"] > 1]
    for ax, cases, label, measure in (
        (axes[0], one, "size of one file, MiB", lambda case: case["file_bytes"] / 2**20),
        (axes[1], many, "files in one directory tree", lambda case: case["files"]),
    ):
        for copied, dash, marker in ((False, "-", "o"), (True, "--", "s")):
            chosen = sorted((c for c in cases if c["copy"] is copied), key=measure)
            ax.plot(
                [measure(case) for case in chosen],
                [case["above_mib"] for case in chosen],
                color=COLOURS["asynclive"],
                linestyle=dash,
                marker=marker,
                label="copy=True" if copied else "in place",
            )
        goals = sorted({(measure(case), case["goal_mib"]) for case in cases})
        ax.plot(*zip(*goals, strict=True), color=GOAL, linestyle=":", label="goal: at most")
        ax.set_xscale("log")
        _plain(ax, x=tuple(x for x, _ in goals))
        ax.set_xlabel(label)
        ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        ax.legend(fontsize=8.5, loc="upper left")
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("MiB above the start, at the peak")
    figure.suptitle("Memory of logging one artifact (lower is better)", fontsize=11)
    return figure


def _rates(
    ax: Axes, x: list[int], rates: list[dict[str, float]], dash: Any, marker: str, label: str
) -> None:
    """Draw the median rates of asynclive over ``x``, each with its least and its most."""
    ax.errorbar(
        x,
        [rate["median"] for rate in rates],
        yerr=[
            [rate["median"] - rate["min"] for rate in rates],
            [rate["max"] - rate["median"] for rate in rates],
        ],
        color=COLOURS["asynclive"],
        linestyle=dash,
        marker=marker,
        capsize=2,
        elinewidth=0.8,
        label=label,
    )


def _plain(ax: Axes, *, x: tuple[float, ...]) -> None:
    """Write plain numbers on a log axis, with ticks at ``x``."""
    ax.margins(x=0.07)
    ax.xaxis.set_major_locator(FixedLocator(list(x)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if ax.get_yscale() == "log":
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


PICTURES: dict[str, Callable[[Path], Figure | None]] = {
    "workloads": workloads,
    "scaling": scaling,
    "many_processes": many_processes,
    "loop_lag": loop_lag,
    "workers": workers,
    "memory": memory,
    "training_stall": training_stall,
}
