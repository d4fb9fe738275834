"""Read the result files that one table or picture shows together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perf.harness import results

Document = dict[str, Any]

# The order of the rows. A workload that is not named comes last.
_WORKLOADS = (
    "dir-10k-copy",
    "big-8-copy",
    "tiny-200",
    "huge-1-copy",
    "dir-10k",
    "tiny-100-changed",
    "dir-10k-copy-again",
    "dir-10k-again",
    "mix-copy",
    "big-8",
    "dir-10k-changed",
)
_STALLS = ("10mb", "200mb", "1gb", "10k-files")
_PUSHES = (
    *("small-10k", "large-4", "nothing-new", "one-new"),
    *("overlap", "memory", "killed", "bandwidth"),
)


def workload_documents(directory: Path) -> list[Document]:
    """Return the results of ``workloads``, in the order of the rows."""
    return _documents(directory, "workload-", _WORKLOADS)


def training_stall_documents(directory: Path) -> list[Document]:
    """Return the results of ``training_stall``, in the order of the rows."""
    return _documents(directory, "training_stall-", _STALLS)


def push_documents(directory: Path) -> list[Document]:
    """Return the results of ``push``, in the order of the rows."""
    return _documents(directory, "push-", _PUSHES)


def growth(document: Document) -> dict[str, float]:
    """Return the cost of one artifact where most are tracked, over the cost where few are.

    Empty from fewer than 3 runs of each.
    """
    goal = document["goal"]
    at = {
        point["tracked"]: point["seconds"]
        for point in document["points"]
        if point["side"] == "asynclive" and not point["untracked"]
    }
    few, many = at.get(goal["against"]), at.get(goal["tracked"])
    if not few or not many or document["pairs"] < 3:
        return {}
    kinds = ("new_one_by_one", "known_one_by_one", "new_gathered", "known_gathered")
    return {kind: many[kind]["median"] / few[kind]["median"] for kind in kinds}


def has_stall_goals(document: Document) -> bool:
    """Return whether a result of ``training_stall`` has the sides that its goals are made from."""
    sides = document["sides"]
    return all(side in sides and not sides[side].get("skipped") for side in ("none", "copy"))


def _documents(directory: Path, prefix: str, order: tuple[str, ...]) -> list[Document]:
    names = [path.stem.removeprefix(prefix) for path in sorted(directory.glob(f"{prefix}*.json"))]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    found = (results.read(f"{prefix}{name}", directory) for name in names)
    return [each for each in found if each]
