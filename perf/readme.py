"""Writes the results into the READMEs: the tables between their markers, from the JSON files.

    python perf/readme.py

A marked part begins with ``<!-- results: NAME -->`` and ends with ``<!-- end -->``; what is
between them is replaced. ``perf/README.md`` has all of them, the README of the project and
the pages of ``docs/`` some.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import results
from workloads import WORKLOADS

PERF = Path(__file__).resolve().parent
_PART = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SIDES = ("dvclive", "naive", "asynclive", "floor", "xvc")
_NONE = "Not measured yet.\n"


def main() -> int:
    root = PERF.parent
    for path in (PERF / "README.md", root / "README.md", *sorted((root / "docs").glob("*.md"))):
        path.write_text(filled(path.read_text(), results.FULL))
    return 0


def filled(text: str, directory: Path) -> str:
    """``text`` with its marked parts made anew from the results in ``directory``."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{PARTS[found[2]](directory)}{found[3]}"

    return _PART.sub(part, text)


def _machine(directory: Path) -> str:
    """The machines and days of all results, each once."""
    told: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*.json")):
        document = results.read(path.stem, directory) or {}
        facts = ", ".join(f"{key} {value}" for key, value in document["machine"].items())
        told.setdefault(f"{facts} ({document['taken']})", []).append(path.stem)
    if len(told) == 1:
        return f"{next(iter(told))}\n"
    return "".join(f"- {facts}: {', '.join(names)}\n" for facts, names in told.items()) or _NONE


def _workloads(directory: Path) -> str:
    documents = _workload_documents(directory)
    if not documents:
        return _NONE
    header = ["workload", *_SIDES, "times faster than dvclive", "goal", "times the floor", "goal"]
    rows = []
    for document in documents:
        ours = document["sides"].get("asynclive", {})
        goals = document["goals"]
        rows.append(
            [
                document["title"],
                *(_seconds(document["sides"].get(side)) for side in _SIDES),
                _ratio(ours.get("times_faster_than_dvclive"), 1),
                f"≥ {goals['dvclive']:g}" if goals["dvclive"] else "",
                _ratio(ours.get("times_the_floor"), 2),
                f"≤ {goals['floor']:g}" if goals["floor"] else "",
            ]
        )
    return _table(header, rows)


def _speed(directory: Path) -> str:
    """The short table of the project's README: what has a goal."""
    documents = [each for each in _workload_documents(directory) if any(each["goals"].values())]
    if not documents:
        return _NONE
    header = ["workload", "DVCLive", "asynclive", "times faster", "single pairs", "floor"]
    rows = []
    for document in documents:
        sides = document["sides"]
        gain = sides.get("asynclive", {}).get("times_faster_than_dvclive")
        rows.append(
            [
                document["title"],
                *(_seconds(sides.get(side)) for side in ("dvclive", "asynclive")),
                f"{gain['median']:.1f}" if gain else "",
                f"{gain['min']:.1f} to {gain['max']:.1f}" if gain else "",
                _seconds(sides.get("floor")),
            ]
        )
    facts = documents[0]["machine"]
    machine = (
        f"{facts['cpus']} cores of an {facts['cpu']}, {facts['file_system']}, "
        f"Python {facts['python']}, DVC {facts['dvc']}, DVCLive {facts['dvclive']}."
    )
    return f"{_table(header, rows)}\n{machine}\n"


def _scaling(directory: Path) -> str:
    document = results.read("scaling", directory)
    if document is None:
        return _NONE
    whats = ["first", "new_one_by_one", "known_one_by_one", "new_gathered", "known_gathered"]
    header = ["side", "tracked", "untracked files", *(what.replace("_", " ") for what in whats)]
    rows = [
        [
            point["side"],
            f"{point['tracked']:,}",
            f"{point['untracked']:,}" if point["untracked"] else "",
            *(_milliseconds(point["seconds"].get(what)) for what in whats),
        ]
        for point in document["points"]
    ]
    return f"{_table(header, rows)}\n{_growth(document, whats[1:])}"


def _growth(document: dict[str, Any], whats: list[str]) -> str:
    """How the cost at the most tracked compares with the goal; of enough runs only."""
    goal = document["goal"]
    at = {
        point["tracked"]: point["seconds"]
        for point in document["points"]
        if point["side"] == "asynclive" and not point["untracked"]
    }
    few, many = at.get(goal["against"]), at.get(goal["tracked"])
    if not few or not many or document["pairs"] < 3:
        return "No ratios: they need 3 runs of each.\n"
    said = ", ".join(
        f"{what.replace('_', ' ')} {many[what]['median'] / few[what]['median']:.2f}"
        for what in whats
    )
    return (
        f"Cost at {goal['tracked']:,} over that at {goal['against']:,} "
        f"(goal: ≤ {goal['times']:g}): {said}.\n"
    )


def _many_processes(directory: Path) -> str:
    document = results.read("many_processes", directory)
    if document is None:
        return _NONE
    header = ["", "processes", "artifacts a second", "last one done", "longest call"]
    rows = [
        [
            point["how"].replace("_", " "),
            str(point["processes"]),
            _rate(point["per_second"]),
            f"{_span(point['last_done'])} s",
            f"{_span(point['longest_call'])} s",
        ]
        for point in document["points"]
    ]
    return _table(header, rows)


def _looplag(directory: Path) -> str:
    document = results.read("looplag", directory)
    if document is None:
        return _NONE
    goals = document["goals_ms"]
    names = list(next(iter(document["sides"].values()))["lag_ms"])
    header = ["", "sleeps", *(f"{name}, ms" for name in names)]
    rows = [
        [
            side.replace("-", ", "),
            f"{measured['sleeps']:,}",
            *(_span(measured["lag_ms"][name]) for name in names),
        ]
        for side, measured in document["sides"].items()
    ]
    wanted = [f"≤ {goals[name]:g}" if name in goals else "" for name in names]
    return _table(header, [*rows, ["goal for asynclive", "", *wanted]])


def _workers(directory: Path) -> str:
    document = results.read("workers", directory)
    if document is None:
        return _NONE
    counts = [point["workers"] for point in document["workloads"][0]["points"]]
    header = ["MiB/s", *(f"{count} workers" for count in counts)]
    rows = [
        [workload["title"], *(_rate(point["mib_per_second"]) for point in workload["points"])]
        for workload in document["workloads"]
    ]
    return _table(header, rows)


def _memory(directory: Path) -> str:
    document = results.read("memory", directory)
    if document is None:
        return _NONE
    rows = [
        [
            f"{case['files']:,} files" if case["files"] > 1 else _size(case["file_bytes"]),
            "copy=True" if case["copy"] else "in place",
            f"{case['above_mib']:.1f}",
            f"≤ {case['goal_mib']:.0f}",
        ]
        for case in document["cases"]
    ]
    return _table(["artifact", "", "MiB above the start", "goal"], rows)


def _imports(directory: Path) -> str:
    document = results.read("imports", directory)
    if document is None:
        return _NONE
    sides = document["sides"]
    rows = [[f"`import {name}`", _milliseconds(each)] for name, each in sides.items()]
    rows.append(["goal for asynclive", f"≤ {1000 * document['goal_seconds']:.0f} ms"])
    return _table(["", "median"], rows)


def _reflink(directory: Path) -> str:
    document = results.read("reflink", directory)
    if document is None:
        return _NONE
    rows = [
        [
            side,
            f"{measured['median']:.2f} s",
            f"{measured['ratio_to_hash']:.2f}" if measured["ratio_to_hash"] else "",
            f"{measured['used_mib']:,.1f}",
        ]
        for side, measured in document["sides"].items()
    ]
    return _table(["", "median", "times the hash", "MiB more used"], rows)


def _beside_large(directory: Path) -> str:
    document = results.read("beside_large", directory)
    if document is None:
        return _NONE
    rows = [
        [
            case["large"],
            case["small"],
            _milliseconds(case["alone"]),
            _milliseconds(case["beside"]),
            f"{case['ratio']:.2f}" if case["ratio"] else "",
        ]
        for case in document["cases"]
    ]
    return _table(["in flight", "small artifact", "alone", "beside it", "times"], rows)


def _cancel_latency(directory: Path) -> str:
    document = results.read("cancel_latency", directory)
    if document is None:
        return _NONE
    rows = [
        [backend, *(f"{case[what][how]:.1f} ms" for what, how in _CANCEL_COLUMNS)]
        for backend, case in document["backends"].items()
    ]
    return _table(["", "told after", "at most", "the block waits for"], rows)


_CANCEL_COLUMNS = (("cancelled_ms", "median"), ("cancelled_ms", "max"), ("leaving_ms", "median"))


def _durable(directory: Path) -> str:
    document = results.read("durable", directory)
    if document is None:
        return _NONE
    rows = [
        [
            case["title"],
            *(_milliseconds(case["settings"][setting]) for setting in ("default", "durable")),
            _ratio(case["ratio"], 2),
        ]
        for case in document["cases"]
    ]
    return _table(["", "default", "durable=True", "times"], rows)


def _cli(directory: Path) -> str:
    document = results.read("cli", directory)
    if document is None:
        return _NONE
    seconds: dict[str, dict[int, dict[str, Any]]] = {}
    for point in document["points"]:
        seconds.setdefault(point["side"], {})[point["tracked"]] = point["seconds"]
    counts = list(next(iter(seconds.values())))
    rows = [
        [f"`{side}`", *(f"{_span(each[n])} s" for n in counts)] for side, each in seconds.items()
    ]
    return _table(["", *(f"{n} tracked before" for n in counts)], rows)


def _stall(directory: Path) -> str:
    documents = [(name, results.read(f"stall-{name}", directory)) for name in STALL]
    header = ["checkpoint", "side", *_STALL_STEPS, "blocked, ms", "most, ms"]
    rows = []
    for _, document in documents:
        if document is None:
            continue
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
        if not has_goals(document):
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
        return _NONE
    return f"{_STALL_PICTURE}\n\n{_table([*header, 'bytes logged'], rows)}"


def has_goals(document: dict[str, Any]) -> bool:
    """Whether a result of ``stall.py`` has what its goals are made from."""
    sides = document["sides"]
    return all(side in sides and not sides[side].get("skipped") for side in ("none", "copy"))


STALL = ("10mb", "200mb", "1gb", "10k-files")
_STALL_PICTURE = (
    "![What a training loop waits for, how long its steps are, and which bytes were logged]"
    "(results/stall.png)"
)
_STALL_STEPS = ("step (quiet), ms", "mean (quiet)", "p99", "max")
_STALL_SIDES = {
    "none": "not logged",
    "copy": "copied, not logged",
    "asynclive-process": 'asynclive, isolation="process"',
    "asynclive-move": "asynclive, move=True",
    "naive": "dvclive in a thread",
    "dcp": "PyTorch DCP, async_save",
}


def _judged(found: dict[str, int] | None) -> str:
    """How many checkpoints were right, and what became of the others."""
    if not found:
        return ""
    total = sum(found.values())
    others = [f"{found[what]} {what}" for what in ("torn", "wrong", "none") if found.get(what)]
    return ", ".join([f"{found.get('right', 0)} of {total} right", *others])


def _workload_documents(directory: Path) -> list[dict[str, Any]]:
    found = (results.read(f"workload-{each.name}", directory) for each in WORKLOADS)
    return [each for each in found if each]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _seconds(measured: dict[str, Any] | None) -> str:
    seconds = measured and measured["seconds"]
    return f"{seconds['median']:.2f} s" if seconds else ""


def _milliseconds(seconds: dict[str, Any] | None) -> str:
    return f"{1000 * seconds['median']:.1f} ms" if seconds else ""


def _ratio(ratio: dict[str, float] | None, digits: int) -> str:
    if not ratio:
        return ""
    middle, low, high = (f"{ratio[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"**{middle}** ({low} to {high})"


def _span(spread: dict[str, Any]) -> str:
    return f"{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"


def _rate(rate: dict[str, Any] | None) -> str:
    return f"{rate['median']:.0f}" if rate else ""


def _size(count: int) -> str:
    return f"a file of {count / 2**20:,.0f} MiB"


PARTS: dict[str, Callable[[Path], str]] = {
    "machine": _machine,
    "workloads": _workloads,
    "speed": _speed,
    "scaling": _scaling,
    "many_processes": _many_processes,
    "looplag": _looplag,
    "workers": _workers,
    "memory": _memory,
    "imports": _imports,
    "reflink": _reflink,
    "beside_large": _beside_large,
    "durable": _durable,
    "cancel_latency": _cancel_latency,
    "cli": _cli,
    "stall": _stall,
}


if __name__ == "__main__":
    sys.exit(main())
