"""The look of the pictures: colours, hatches and dashes of the sides, and short numbers."""

from __future__ import annotations

from matplotlib import pyplot as plt

COLOURS = {
    "asynclive": "#0072B2",
    "threads": "#56B4E9",
    "dvclive": "#D55E00",
    "naive": "#E69F00",
    "floor": "#999999",
    "xvc": "#009E73",
    "idle": "#666666",
    "hashing": "#CC79A7",
    "none": "#666666",
    "copy": "#999999",
    "asynclive-thread": "#56B4E9",
    "asynclive-move": "#CC79A7",
    "dcp": "#009E73",
}
HATCHES = {
    "dvclive": "///",
    "naive": "...",
    "xvc": "xx",
    "asynclive-thread": "---",
    "dcp": "xx",
}
DASHES = {"asyncio": "-", "trio": "--"}
GOAL = "#000000"

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.5,
        "hatch.linewidth": 0.5,
        "legend.frameon": False,
    }
)


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
