"""The goals that the results miss, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perf.harness import results
from perf.report.cells import table
from perf.report.documents import (
    Document,
    growth,
    has_stall_goals,
    push_documents,
    training_stall_documents,
    workload_documents,
)

# The sides of ``training_stall`` that are asynclive.
OURS = ("asynclive", "asynclive-thread", "asynclive-move")

Row = list[str]


def missed_goals(directory: Path) -> str:
    """Return a row for each goal that is missed, but for those of ``training_stall``."""
    return _table(
        *(row for each in workload_documents(directory) for row in _workload(each)),
        *_scaling(results.read("scaling", directory)),
        *_loop_lag(results.read("loop_lag", directory)),
        *_memory(results.read("memory", directory)),
        *_import_time(results.read("import_time", directory)),
        *_events(results.read("events", directory)),
        *(row for each in push_documents(directory) for row in _push(each)),
    )


def missed_training_goals(directory: Path) -> str:
    """Return a row for each goal of ``training_stall`` that is missed."""
    return _table(*(row for each in training_stall_documents(directory) for row in _stall(each)))


def _table(*rows: Row) -> str:
    return table(["missed goal", "measured", "goal"], list(rows)) if rows else "None.\n"


def _at_most(what: str, value: float, goal: float, digits: int, unit: str = "") -> Iterator[Row]:
    # As the pages show it: otherwise 1.00 would miss a goal of 1.
    if round(value, digits) > goal:
        yield [what, f"{value:.{digits}f}{unit}", f"≤ {goal:g}{unit}"]


def _at_least(what: str, value: float, goal: float, digits: int) -> Iterator[Row]:
    if round(value, digits) < goal:
        yield [what, f"{value:.{digits}f}", f"≥ {goal:g}"]


def _workload(document: Document) -> Iterator[Row]:
    ours = document["sides"].get("asynclive", {})
    title, goals = document["title"], document["goals"]
    gain, over = ours.get("times_faster_than_dvclive"), ours.get("times_the_floor")
    if gain and goals["dvclive"]:
        what = f"{title}: times faster than DVCLive"
        yield from _at_least(what, gain["median"], goals["dvclive"], 1)
    if over and goals["floor"]:
        yield from _at_most(f"{title}: times the floor", over["median"], goals["floor"], 2)


def _scaling(document: Document | None) -> Iterator[Row]:
    if document is None:
        return
    goal = document["goal"]
    for kind, times in growth(document).items():
        what = (
            f"one artifact, {kind.replace('_', ' ')}: cost at {goal['tracked']:,} tracked "
            f"over that at {goal['against']:,}"
        )
        yield from _at_most(what, times, goal["times"], 2)


def _loop_lag(document: Document | None) -> Iterator[Row]:
    if document is None:
        return
    for side, measured in document["sides"].items():
        kind, _, backend = side.partition("-")
        if kind != "asynclive":  # the goals hold for the default isolation
            continue
        for name, goal in document["goals_ms"].items():
            lag = measured["lag_ms"][name]["median"]
            yield from _at_most(f"event loop on {backend}: lag, {name}", lag, goal, 2, " ms")


def _memory(document: Document | None) -> Iterator[Row]:
    for case in (document or {"cases": []})["cases"]:
        what = f"memory for {case['files']:,} files of {case['file_bytes']:,} bytes"
        yield from _at_most(what, case["above_mib"], case["goal_mib"], 1, " MiB")


def _import_time(document: Document | None) -> Iterator[Row]:
    if document is not None:
        ms = document["sides"]["asynclive"]["median"] * 1000
        yield from _at_most("`import asynclive`", ms, document["goal_seconds"] * 1000, 1, " ms")


def _events(document: Document | None) -> Iterator[Row]:
    if document is None:
        return
    titles = {case["case"]: case["title"] for case in document["cases"]}
    for case, shares in document["shares"].items():
        for listener, share in shares.items():
            what = f"{titles[case]}: share of the CPU time that `{listener}` takes"
            yield from _at_most(what, 100 * share, round(100 * (document["goal"] - 1), 2), 2, " %")


def _push(document: Document) -> Iterator[Row]:
    side = "log and push" if "log and push" in document["sides"] else "asynclive"
    measured = {**document["sides"].get(side, {}), **document["compared"]}
    for name, goal in document["goals"].items():
        if name not in measured:
            continue
        what = f"push, {document['title']}: {name.replace('_', ' ')}"
        compare = _at_least if name == "times_faster_than_dvc" else _at_most
        yield from compare(what, measured[name]["median"], goal, 2)


def _stall(document: Document) -> Iterator[Row]:
    if not has_stall_goals(document):
        return
    sides, goals = document["sides"], document["goals"]
    copy_ms = sides["copy"]["blocked_ms"]["median"]["median"]
    not_logged = sides["none"]["step_ms"]
    for side in OURS:
        measured: dict[str, Any] = sides.get(side, {"skipped": "not chosen"})
        if measured.get("skipped"):
            continue
        what = f"{document['title']}, {_TITLES[side]}"
        blocked_ms = measured["blocked_ms"]["median"]["median"]
        if side == "asynclive-move":
            yield from _at_most(f"{what}: blocked", blocked_ms, goals["move_ms"], 1, " ms")
        else:
            goal = goals["times_the_copy"]
            yield from _at_most(
                f"{what}: blocked, times a plain copy", blocked_ms / copy_ms, goal, 2
            )
        for key in ("median", "mean"):
            times = measured["step_ms"][key]["median"] / not_logged[key]["median"]
            goal = goals[f"{key}_step"]
            yield from _at_most(f"{what}: {key} step, times one without logging", times, goal, 2)
        judged = measured["bytes"] or {}
        wrong = sum(judged.values()) - judged.get("right", 0)
        yield from _at_most(f"{what}: checkpoints with other bytes", wrong, 0, 0)


_TITLES = {
    "asynclive": "`submit`",
    "asynclive-thread": '`submit` with isolation="thread"',
    "asynclive-move": "`submit` with move=True",
}
