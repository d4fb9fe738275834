"""The parts of the READMEs that are made from results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from perf.harness import results
from perf.harness.standard_workloads import WORKLOADS
from perf.report.cells import NONE, milliseconds, rate, ratio, seconds, size, span, table
from perf.report.training_stall_table import stall

_SIDES = ("dvclive", "naive", "asynclive", "floor", "xvc")


def _machine(directory: Path) -> str:
    """The machines and days of all results, each once."""
    told: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*.json")):
        document = results.read(path.stem, directory) or {}
        facts = ", ".join(f"{key} {value}" for key, value in document["machine"].items())
        told.setdefault(f"{facts} ({document['taken']})", []).append(path.stem)
    if len(told) == 1:
        return f"{next(iter(told))}\n"
    return "".join(f"- {facts}: {', '.join(names)}\n" for facts, names in told.items()) or NONE


def _workloads(directory: Path) -> str:
    documents = _workload_documents(directory)
    if not documents:
        return NONE
    header = ["workload", *_SIDES, "times faster than dvclive", "goal", "times the floor", "goal"]
    rows = []
    for document in documents:
        ours = document["sides"].get("asynclive", {})
        goals = document["goals"]
        rows.append(
            [
                document["title"],
                *(seconds(document["sides"].get(side)) for side in _SIDES),
                ratio(ours.get("times_faster_than_dvclive"), 1),
                f"≥ {goals['dvclive']:g}" if goals["dvclive"] else "",
                ratio(ours.get("times_the_floor"), 2),
                f"≤ {goals['floor']:g}" if goals["floor"] else "",
            ]
        )
    return table(header, rows)


def _speed(directory: Path, workloads: frozenset[str] = frozenset()) -> str:
    """Return the table of the workloads that have a goal, or only of the named ones."""
    documents = [
        each
        for each in _workload_documents(directory)
        if any(each["goals"].values()) and (not workloads or each["workload"] in workloads)
    ]
    if not documents:
        return NONE
    header = ["workload", "DVCLive", "asynclive", "times faster", "single pairs", "floor"]
    rows = []
    for document in documents:
        sides = document["sides"]
        gain = sides.get("asynclive", {}).get("times_faster_than_dvclive")
        rows.append(
            [
                document["title"],
                *(seconds(sides.get(side)) for side in ("dvclive", "asynclive")),
                f"{gain['median']:.1f}" if gain else "",
                f"{gain['min']:.1f} to {gain['max']:.1f}" if gain else "",
                seconds(sides.get("floor")),
            ]
        )
    facts = documents[0]["machine"]
    machine = (
        f"{facts['cpus']} cores of an {facts['cpu']}, {facts['file_system']}, "
        f"Python {facts['python']}, DVC {facts['dvc']}, DVCLive {facts['dvclive']}."
    )
    return f"{table(header, rows)}\n{machine}\n"


def _speed_short(directory: Path) -> str:
    """Return three rows for the README of the project; one of them misses its goal."""
    return _speed(directory, frozenset({"dir-10k-copy", "big-8-copy", "tiny-200"}))


def _scaling(directory: Path) -> str:
    document = results.read("scaling", directory)
    if document is None:
        return NONE
    whats = ["first", "new_one_by_one", "known_one_by_one", "new_gathered", "known_gathered"]
    header = ["side", "tracked", "untracked files", *(what.replace("_", " ") for what in whats)]
    rows = [
        [
            point["side"],
            f"{point['tracked']:,}",
            f"{point['untracked']:,}" if point["untracked"] else "",
            *(milliseconds(point["seconds"].get(what)) for what in whats),
        ]
        for point in document["points"]
    ]
    return f"{table(header, rows)}\n{_growth(document, whats[1:])}"


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
        return NONE
    header = ["", "processes", "artifacts a second", "last one done", "longest call"]
    rows = [
        [
            point["how"].replace("_", " "),
            str(point["processes"]),
            rate(point["per_second"]),
            f"{span(point['last_done'])} s",
            f"{span(point['longest_call'])} s",
        ]
        for point in document["points"]
    ]
    return table(header, rows)


def _looplag(directory: Path) -> str:
    document = results.read("loop_lag", directory)
    if document is None:
        return NONE
    goals = document["goals_ms"]
    names = list(next(iter(document["sides"].values()))["lag_ms"])
    header = ["", "sleeps", *(f"{name}, ms" for name in names)]
    rows = [
        [
            side.replace("threads", "asynclive in threads").replace("-", ", "),
            f"{measured['sleeps']:,}",
            *(span(measured["lag_ms"][name]) for name in names),
        ]
        for side, measured in document["sides"].items()
    ]
    wanted = [f"≤ {goals[name]:g}" if name in goals else "" for name in names]
    return table(header, [*rows, ["goal for asynclive", "", *wanted]])


def _workers(directory: Path) -> str:
    document = results.read("workers", directory)
    if document is None:
        return NONE
    counts = [point["workers"] for point in document["workloads"][0]["points"]]
    header = ["MiB/s", *(f"{count} workers" for count in counts)]
    rows = [
        [workload["title"], *(rate(point["mib_per_second"]) for point in workload["points"])]
        for workload in document["workloads"]
    ]
    return table(header, rows)


def _memory(directory: Path) -> str:
    document = results.read("memory", directory)
    if document is None:
        return NONE
    rows = [
        [
            f"{case['files']:,} files" if case["files"] > 1 else size(case["file_bytes"]),
            "copy=True" if case["copy"] else "in place",
            f"{case['above_mib']:.1f}",
            f"≤ {case['goal_mib']:.0f}",
        ]
        for case in document["cases"]
    ]
    return table(["artifact", "", "MiB above the start", "goal"], rows)


def _imports(directory: Path) -> str:
    document = results.read("import_time", directory)
    if document is None:
        return NONE
    sides = document["sides"]
    rows = [[f"`import {name}`", milliseconds(each)] for name, each in sides.items()]
    rows.append(["goal for asynclive", f"≤ {1000 * document['goal_seconds']:.0f} ms"])
    return table(["", "median"], rows)


def _reflink(directory: Path) -> str:
    document = results.read("reflink", directory)
    if document is None:
        return NONE
    rows = [
        [
            side,
            f"{measured['median']:.2f} s",
            f"{measured['ratio_to_hash']:.2f}" if measured["ratio_to_hash"] else "",
            f"{measured['used_mib']:,.1f}",
        ]
        for side, measured in document["sides"].items()
    ]
    return table(["", "median", "times the hash", "MiB more used"], rows)


def _beside_large(directory: Path) -> str:
    document = results.read("large_in_flight", directory)
    if document is None:
        return NONE
    rows = [
        [
            case["large"],
            case["small"],
            milliseconds(case["alone"]),
            milliseconds(case["beside"]),
            f"{case['ratio']:.2f}" if case["ratio"] else "",
        ]
        for case in document["cases"]
    ]
    return table(["in flight", "small artifact", "alone", "beside it", "times"], rows)


def _cancel_latency(directory: Path) -> str:
    document = results.read("cancel_latency", directory)
    if document is None:
        return NONE
    rows = [
        [backend, *(f"{case[what][how]:.1f} ms" for what, how in _CANCEL_COLUMNS)]
        for backend, case in document["backends"].items()
    ]
    return table(["", "told after", "at most", "the block waits for"], rows)


_CANCEL_COLUMNS = (("cancelled_ms", "median"), ("cancelled_ms", "max"), ("leaving_ms", "median"))


def _durable(directory: Path) -> str:
    document = results.read("durable", directory)
    if document is None:
        return NONE
    rows = [
        [
            case["title"],
            *(milliseconds(case["settings"][setting]) for setting in ("default", "durable")),
            ratio(case["ratio"], 2),
        ]
        for case in document["cases"]
    ]
    return table(["", "default", "durable=True", "times"], rows)


def _cli(directory: Path) -> str:
    document = results.read("command_line", directory)
    if document is None:
        return NONE
    seconds: dict[str, dict[int, dict[str, Any]]] = {}
    for point in document["points"]:
        seconds.setdefault(point["side"], {})[point["tracked"]] = point["seconds"]
    counts = list(next(iter(seconds.values())))
    rows = [
        [f"`{side}`", *(f"{span(each[n])} s" for n in counts)] for side, each in seconds.items()
    ]
    return table(["", *(f"{n} tracked before" for n in counts)], rows)


def _isolation(directory: Path) -> str:
    document = results.read("isolation", directory)
    if document is None:
        return NONE
    isolations = document["isolations"]
    rows = [
        [title, *(f"{span(measured[what])}{unit}" for measured in isolations.values())]
        for what, (title, unit) in _ISOLATION_ROWS.items()
    ]
    return table(["", *(f'`isolation="{name}"`' for name in isolations)], rows)


_ISOLATION_ROWS = {
    "entering_s": ("entering the block", " s"),
    "leaving_s": ("leaving it", " s"),
    "tiny_s": ("200 artifacts of 12 bytes, gathered", " s"),
    "tiny_parent_cpu_s": ("of it, the program's own CPU time", " s"),
    "large_s": ("a file of 256 MiB, copy=True", " s"),
    "many_s": ("10,000 files of 16 KiB in a directory, copy=True, beside the steps", " s"),
    "step_median": ("a step beside it, times one alone: median", ""),
    "step_mean": ("the same: mean", ""),
    "step_p99": ("the same: 99th percentile", ""),
}


def _events(directory: Path) -> str:
    document = results.read("events", directory)
    if document is None:
        return NONE
    rows = []
    for case in document["cases"]:
        for side, measured in case["sides"].items():
            share = document["shares"][case["case"]].get(side)
            rows.append(
                [
                    case["title"],
                    side,
                    f"{measured['events']:,.0f}",
                    span(measured["seconds"]),
                    span(measured["cpu_seconds"]),
                    ratio(measured["times_nobody_cpu"], 3),
                    f"{100 * share:.2f} %" if share is not None else "",
                ]
            )
    header = ["logged", "who listens", "events", "seconds", "CPU seconds"]
    return table([*header, "times nobody's CPU", "CPU of the events alone"], rows)


def _workload_documents(directory: Path) -> list[dict[str, Any]]:
    found = (results.read(f"workload-{each.name}", directory) for each in WORKLOADS)
    return [each for each in found if each]


PARTS: dict[str, Callable[[Path], str]] = {
    "machine": _machine,
    "workloads": _workloads,
    "speed": _speed,
    "speed_short": _speed_short,
    "scaling": _scaling,
    "many_processes": _many_processes,
    "loop_lag": _looplag,
    "workers": _workers,
    "memory": _memory,
    "import_time": _imports,
    "reflink": _reflink,
    "large_in_flight": _beside_large,
    "durable": _durable,
    "cancel_latency": _cancel_latency,
    "command_line": _cli,
    "isolation": _isolation,
    "events": _events,
    "training_stall": stall,
}
