"""The tables of the benches that have one result each: one function a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perf.harness import results
from perf.report.cells import NONE, milliseconds, rate, ratio, size, span, table
from perf.report.documents import Document, growth


def scaling(directory: Path) -> str:
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
    return f"{table(header, rows)}\n{_growth(document)}"


def _growth(document: Document) -> str:
    goal, found = document["goal"], growth(document)
    if not found:
        return "No ratios: they need 3 runs of each.\n"
    costs = ", ".join(f"{kind.replace('_', ' ')} {times:.2f}" for kind, times in found.items())
    return (
        f"Cost at {goal['tracked']:,} over that at {goal['against']:,} "
        f"(goal: ≤ {goal['times']:g}): {costs}.\n"
    )


def many_processes(directory: Path) -> str:
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


def loop_lag(directory: Path) -> str:
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


def workers(directory: Path) -> str:
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


def memory(directory: Path) -> str:
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


def import_time(directory: Path) -> str:
    document = results.read("import_time", directory)
    if document is None:
        return NONE
    sides = document["sides"]
    rows = [[f"`import {name}`", milliseconds(each)] for name, each in sides.items()]
    rows.append(["goal for asynclive", f"≤ {1000 * document['goal_seconds']:.0f} ms"])
    return table(["", "median"], rows)


def reflink(directory: Path) -> str:
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


def large_in_flight(directory: Path) -> str:
    document = results.read("large_in_flight", directory)
    if document is None:
        return NONE
    rows = [
        [
            case["large"],
            case["small"],
            milliseconds(case["alone"]),
            milliseconds(case["in_flight"]),
            f"{case['ratio']:.2f}" if case["ratio"] else "",
        ]
        for case in document["cases"]
    ]
    return table(
        ["large artifact", "small artifact", "alone", "while it is in flight", "times"], rows
    )


def cancel_latency(directory: Path) -> str:
    document = results.read("cancel_latency", directory)
    if document is None:
        return NONE
    rows = [
        [backend, *(f"{case[what][how]:.1f} ms" for what, how in _CANCEL_COLUMNS)]
        for backend, case in document["backends"].items()
    ]
    return table(["", "caller continues after", "at most", "block is left after"], rows)


_CANCEL_COLUMNS = (("cancelled_ms", "median"), ("cancelled_ms", "max"), ("leaving_ms", "median"))


def durable(directory: Path) -> str:
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


def command_line(directory: Path) -> str:
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


def isolation(directory: Path) -> str:
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
    "entering_s": ("to enter the block", " s"),
    "leaving_s": ("to leave it", " s"),
    "tiny_s": ("200 artifacts of 12 bytes, gathered", " s"),
    "tiny_parent_cpu_s": ("of that, CPU time of the program itself", " s"),
    "large_s": ("a file of 256 MiB, copy=True", " s"),
    "many_s": ("10,000 files of 16 KiB in a directory, copy=True, during the steps", " s"),
    "step_median": ("a step during that, times a step alone: median", ""),
    "step_mean": ("the same: mean", ""),
    "step_p99": ("the same: 99th percentile", ""),
}


def events(directory: Path) -> str:
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
                    "none" if side == "none" else f"`{side}`",
                    f"{measured['events']:,.0f}",
                    span(measured["seconds"]),
                    span(measured["cpu_seconds"]),
                    ratio(measured["times_none_cpu"], 3),
                    f"{100 * share:.2f} %" if share is not None else "",
                ]
            )
    header = ["logged", "listener", "events", "seconds", "CPU seconds"]
    return table([*header, "times the CPU without a listener", "CPU of the events alone"], rows)


def dvc_status(directory: Path) -> str:
    document = results.read("dvc_status", directory)
    if document is None:
        return NONE
    rows = [[f"`{side}`", f"{span(each)} s"] for side, each in document["sides"].items()]
    return table(["tracked by", "`dvc status`"], rows)


def chunk_size(directory: Path) -> str:
    document = results.read("chunk_size", directory)
    if document is None:
        return NONE
    rows = [
        [
            f"{each['chunk_bytes'] // 1024:,} KiB" if each["copies"] else "the hash alone",
            f"{span(each['seconds'])} s",
        ]
        for each in document["sides"].values()
    ]
    return table(["chunk", "seconds"], rows)
