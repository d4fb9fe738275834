"""Markdown tables, and the numbers in their cells."""

from __future__ import annotations

from typing import Any

NONE = "Not measured yet.\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def seconds(measured: dict[str, Any] | None) -> str:
    seconds = measured and measured["seconds"]
    return f"{seconds['median']:.2f} s" if seconds else ""


def milliseconds(seconds: dict[str, Any] | None) -> str:
    return f"{1000 * seconds['median']:.1f} ms" if seconds else ""


def ratio(ratio: dict[str, float] | None, digits: int) -> str:
    if not ratio:
        return ""
    middle, low, high = (f"{ratio[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"**{middle}** ({low} to {high})"


def span(spread: dict[str, Any]) -> str:
    return f"{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"


def rate(rate: dict[str, Any] | None) -> str:
    return f"{rate['median']:.0f}" if rate else ""


def size(count: int) -> str:
    return f"a file of {count / 2**20:,.0f} MiB"
