"""The tables of the workloads, and the machines that all results were measured on."""

from __future__ import annotations

from pathlib import Path

from perf.harness import results
from perf.report.cells import NONE, ratio, seconds, table
from perf.report.documents import Document, workload_documents

_SIDES = ("dvclive", "naive", "asynclive", "floor", "xvc")
# Three rows for the README, one of which misses its goal: the short table is no choice of the best.
_SHORT = frozenset({"dir-10k-copy", "big-8-copy", "tiny-200"})
# In place, copied, and tiny artifacts: one row each.
_README = ("dir-10k", "huge-1-copy", "tiny-200")


def machine(directory: Path) -> str:
    """List each machine and day once, with its results."""
    measured: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*.json")):
        document = results.read(path.stem, directory) or {}
        facts = ", ".join(f"{key} {value}" for key, value in document["machine"].items())
        measured.setdefault(f"{facts} ({document['taken']})", []).append(path.stem)
    if len(measured) == 1:
        return f"{next(iter(measured))}\n"
    return "".join(f"- {facts}: {', '.join(names)}\n" for facts, names in measured.items()) or NONE


def workloads(directory: Path) -> str:
    """Return every workload with every side, ratio and goal."""
    documents = workload_documents(directory)
    if not documents:
        return NONE
    # The unit stands in the header: the table is wide, and "3.24 s" would break into two lines.
    sides = [f"{side}, s" for side in _SIDES]
    header = ["workload", *sides, "times faster than dvclive", "goal", "times the floor", "goal"]
    rows = []
    for document in documents:
        ours = document["sides"].get("asynclive", {})
        goals = document["goals"]
        rows.append(
            [
                document["title"],
                *(seconds(document["sides"].get(side)).removesuffix(" s") for side in _SIDES),
                ratio(ours.get("times_faster_than_dvclive"), 1),
                f"≥ {goals['dvclive']:g}" if goals["dvclive"] else "",
                ratio(ours.get("times_the_floor"), 2),
                f"≤ {goals['floor']:g}" if goals["floor"] else "",
            ]
        )
    return table(header, rows)


def speed(directory: Path, only: frozenset[str] = frozenset()) -> str:
    """Return the workloads that have a goal, or only those named, next to DVCLive and the floor."""
    documents = [
        each
        for each in workload_documents(directory)
        if any(each["goals"].values()) and (not only or each["workload"] in only)
    ]
    if not documents:
        return NONE
    header = ["workload", "DVCLive", "asynclive", "times faster", "single pairs", "floor"]
    rows = []
    for document in documents:
        gain = _gain(document)
        rows.append(
            [
                *_next_to_dvclive(document),
                f"{gain['min']:.1f} to {gain['max']:.1f}" if gain else "",
                seconds(document["sides"].get("floor")),
            ]
        )
    return f"{table(header, rows)}\n{_machine_of(documents[0])}"


def speed_short(directory: Path) -> str:
    """Return three rows of ``speed``."""
    return speed(directory, _SHORT)


def readme_speed(directory: Path) -> str:
    """Return three rows with the seconds of DVCLive and asynclive alone."""
    found = {each["workload"]: each for each in workload_documents(directory)}
    documents = [found[name] for name in _README if name in found]
    if not documents:
        return NONE
    header = ["workload", "DVCLive", "asynclive", "times faster"]
    return (
        f"{table(header, [_next_to_dvclive(each) for each in documents])}"
        f"\n{_machine_of(documents[0])}"
    )


def _next_to_dvclive(document: Document) -> list[str]:
    sides, gain = document["sides"], _gain(document)
    return [
        document["title"],
        *(seconds(sides.get(side)) for side in ("dvclive", "asynclive")),
        f"{gain['median']:.1f}" if gain else "",
    ]


def _gain(document: Document) -> dict[str, float] | None:
    gain: dict[str, float] | None = (
        document["sides"].get("asynclive", {}).get("times_faster_than_dvclive")
    )
    return gain


def _machine_of(document: Document) -> str:
    facts = document["machine"]
    return (
        f"{facts['cpus']} cores of an {facts['cpu']}, {facts['file_system']}, "
        f"Python {facts['python']}, DVC {facts['dvc']}, DVCLive {facts['dvclive']}.\n"
    )
