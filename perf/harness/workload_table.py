"""The result of one workload, as a table for the terminal."""

from __future__ import annotations

from typing import Any

from perf.harness.ratios import MIN_PAIRS

_HEADER = ("", "median", "min - max", "MiB/s", "vs dvclive", "of each pair", "vs floor", "peak MiB")
_WIDTHS = (10, 9, 15, 8, 10, 15, 9, 9)


def table(document: dict[str, Any]) -> str:
    """Return the workload as an aligned table, with its goals below."""
    scale, pairs = document["scale"], document["pairs"]
    scaled = f", at scale {scale:g}" if scale != 1 else ""
    lines = [f"{document['title']} (medians of {pairs}{scaled})", _row(_HEADER)]
    for side, measured in document["sides"].items():
        seconds = measured["seconds"]
        if seconds is None:
            lines.append(f"  {side:<10}  no result: {measured['skipped'] or measured['failure']}")
            continue
        rate = document["bytes"] / 2**20 / seconds["median"]
        gain, over = measured["times_faster_than_dvclive"], measured["times_the_floor"]
        lines.append(
            _row(
                (
                    side,
                    f"{seconds['median']:.2f} s",
                    f"{seconds['min']:.2f} - {seconds['max']:.2f}",
                    f"{rate:.0f}" if rate >= 1 else "",
                    f"{gain['median']:.1f}x" if gain else "",
                    f"{gain['min']:.1f} - {gain['max']:.1f}" if gain else "",
                    f"{over['median']:.2f}" if over else "",
                    f"{measured['peak_mib']:.0f}",
                )
            )
        )
    if gain := document["sides"].get("asynclive", {}).get("times_faster_than_against"):
        lines.append(
            f"  asynclive is {gain['median']:.2f} times as fast as against "
            f"(single pairs {gain['min']:.2f} - {gain['max']:.2f})."
        )
    if pairs < MIN_PAIRS:
        lines.append(f"  No ratios: they need at least {MIN_PAIRS} pairs.")
    goals = document["goals"]
    if any(goals.values()):
        wanted = [f"at least {goals['dvclive']:g}x dvclive"] if goals["dvclive"] else []
        wanted += [f"at most {goals['floor']:g} of the floor"] if goals["floor"] else []
        lines.append(f"  Goal: {', '.join(wanted)}.")
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    )
    return ("  " + "  ".join((first, *rest))).rstrip()
