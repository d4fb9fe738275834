"""Let the sides of a bench take turns on one case, with the sources in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from perf.harness.repository import Repository
from perf.harness.sources import make, place
from perf.harness.turns import Run, take_turns_in_repositories
from perf.harness.workload import Workload


def measure_case(
    bench: str,
    case: Workload,
    scale: float,
    pairs: int,
    sides: Sequence[str],
    work_dir: Path,
    describe: Callable[[str, Run], str],
) -> dict[str, list[Run]]:
    """Run each side in turns, in a child that calls ``measure(side, case, sources, scale)``.

    Returns:
        The runs of each side. Unlike ``measure_in_turns``, this makes no ratios and checks no
        cache: the bench decides what its runs mean.
    """
    print(f"\n{case.title}", flush=True)
    sources = case.sources(scale)
    made = make(sources, work_dir / "sources" / f"{bench}-{case.name}-{scale:g}", case.name)

    def run(repository: Repository, side: str) -> Run:
        here = place(sources, made, repository.path, in_place=case.in_place)
        return repository.run(bench, side=side, case=case.name, sources=here, scale=scale)

    return take_turns_in_repositories(work_dir, sides, pairs, run, describe)
