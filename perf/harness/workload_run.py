"""Measure sides on a workload: one run in a child process, and all runs in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf.harness.child_process import asynclive_src
from perf.harness.clock import PrewarmedClock, peak_rss_mib
from perf.harness.ratios import ratio, spread
from perf.harness.repository import Repository
from perf.harness.sources import make, place
from perf.harness.turns import Run, take_turns_in_repositories
from perf.harness.workload import Changed, Side, Workload


@dataclass(frozen=True)
class WorkloadRuns:
    """All runs of the sides on one workload, in the order they ran."""

    workload: Workload
    scale: float
    pairs: int
    runs: dict[str, list[Run]]
    skipped: Mapping[str, str | None]
    """Why a side cannot run here."""
    failures: Mapping[str, str | None]
    """What went wrong with a side."""

    def seconds(self, side: str) -> list[float]:
        """Return the seconds of each run; of a side with a failure, none."""
        if self.failures.get(side):
            return []
        return [run["seconds"] for run in self.runs.get(side, [])]

    def as_json(self) -> dict[str, Any]:
        """Return the content of the workload's result file."""
        return {
            "workload": self.workload.name,
            "title": self.workload.title,
            "bytes": self.workload.size(self.scale),
            "scale": self.scale,
            "pairs": self.pairs,
            "goals": asdict(self.workload.goals),
            "sides": {side: self._side(side) for side in self.runs},
        }

    def _side(self, side: str) -> dict[str, Any]:
        seconds = self.seconds(side)
        compared = {
            "times_faster_than_dvclive": self._times("dvclive", side),
            "times_the_floor": self._times(side, "floor"),
        }
        if "against" in self.runs:
            compared["times_faster_than_against"] = self._times("against", side)
        return {
            "seconds": spread(seconds) if seconds else None,
            "peak_mib": max(run["rss_peak_mib"] for run in self.runs[side]) if seconds else None,
            "skipped": self.skipped.get(side),
            "failure": self.failures.get(side),
            **compared,
            "runs": self.runs[side],
        }

    def _times(self, slow: str, fast: str) -> dict[str, float] | None:
        """Return how many times longer ``slow`` takes; None for a side with itself."""
        return None if slow == fast else ratio(self.seconds(slow), self.seconds(fast))


def measure_in_turns(
    bench: str,
    workload: Workload,
    sides: Sequence[str],
    scale: float,
    pairs: int,
    work_dir: Path,
    *,
    skipped: Mapping[str, str | None] | None = None,
    against: Path | None = None,
) -> WorkloadRuns:
    """Run the sides on a workload in turns, each run in a child of ``bench``.

    Args:
        bench: The bench whose ``measure(side, workload, sources, scale)`` does one run.
        workload: The artifacts to log.
        sides: The names of the sides. ``against`` is asynclive from the directory ``against``.
        scale: 1.0 is the workload.
        pairs: The number of runs of each side.
        work_dir: Where to work, and to keep the sources.
        skipped: Why a side cannot run here.
        against: The ``src`` directory of another checkout.
    """
    print(f"\n{workload.name}: {workload.title}", flush=True)
    sources = workload.sources(scale)
    made = make(sources, work_dir / "sources" / f"{workload.name}-{scale:g}", workload.name)
    skipped = skipped or {}
    sitting_out: dict[str, str | None] = {side: why for side, why in skipped.items() if why}
    known = set(sitting_out)

    def run(repository: Repository, side: str) -> Run:
        here = place(sources, made, repository.path, in_place=workload.in_place)
        return repository.run(
            bench,
            asynclive_src=asynclive_src(side, against),
            side="asynclive" if side == "against" else side,
            workload=workload.name,
            sources=here,
            scale=scale,
        )

    runs = take_turns_in_repositories(work_dir, sides, pairs, run, _describe, failures=sitting_out)
    failures = {side: why for side, why in sitting_out.items() if side not in known}
    return WorkloadRuns(workload, scale, pairs, runs, skipped, failures)


def measure_once(side: Side, workload: Workload, where: Path, scale: float) -> Run:
    """Log ``workload`` from ``where`` in the working directory; return the time and the memory."""
    calls = workload.calls(where, scale)
    changed = Changed()
    if workload.logged_before:
        side.log(calls, nullcontext())
        if workload.change is not None:
            changed = workload.change(calls)
    clock = PrewarmedClock(int(workload.prewarm_bytes * min(1.0, scale)))
    statistics = side.log(calls, clock)
    _verify(side, workload, scale, changed)
    return {
        "seconds": clock.seconds,
        # Far more system time in some runs: the memory, or the disk, was the slow part.
        "user_seconds": clock.user_seconds,
        "system_seconds": clock.system_seconds,
        "rss_start_mib": clock.rss_start_mib,
        "rss_peak_mib": peak_rss_mib(),
        **({"statistics": statistics} if statistics else {}),
    }


def _verify(side: Side, workload: Workload, scale: float, changed: Changed) -> None:
    """End the run with an error if the side did not do all the work: its time is no result."""
    sources = workload.sources(scale)
    # The listing of a directory is a cache object of DVC's.
    expected = sum(each.objects if side.is_dvc else each.nfiles for each in sources)
    expected += changed.objects if side.is_dvc else changed.files
    objects = sum(1 for path in Path(side.cache).rglob("*") if path.is_file())
    if objects != expected:
        raise SystemExit(f"{side.name}: {objects} cache objects instead of {expected}")
    if not side.is_dvc:
        return

    from ruamel.yaml import YAML

    entries = YAML(typ="safe").load(Path("dvc.yaml"))["artifacts"]
    tracked = [path for path in Path().rglob("*.dvc") if path.is_file()]
    if not len(entries) == len(tracked) == len(sources):
        raise SystemExit(
            f"{side.name}: {len(entries)} entries and {len(tracked)} .dvc files "
            f"instead of {len(sources)}"
        )


def _describe(side: str, run: Run) -> str:
    return (
        f"{side:<12} {run['seconds']:6.2f} s  "
        f"(user {run['user_seconds']:.2f}, system {run['system_seconds']:.2f})"
    )
