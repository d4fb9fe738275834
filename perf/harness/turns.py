"""Let the sides take turns: A B C A B C, each run in a fresh repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perf.harness.child_process import RunFailedError
from perf.harness.ratios import spread
from perf.harness.repository import Repository, fresh_repository
from perf.harness.work_dir import runs_dir

Side = TypeVar("Side")
Run = dict[str, Any]
"""The numbers of one run."""


def take_turns(
    sides: Sequence[Side],
    pairs: int,
    run: Callable[[Side], Run],
    describe: Callable[[Side, Run], str],
    *,
    failures: dict[Side, str | None] | None = None,
    on_run: Callable[[dict[Side, list[Run]]], None] | None = None,
) -> dict[Side, list[Run]]:
    """Run every side ``pairs`` times, in turns, and print a line after each run.

    Args:
        sides: The sides, or the points, that take turns.
        pairs: The number of runs of each.
        run: Runs a side once.
        describe: Returns the line to print.
        failures: Reasons of the sides that sit out. A side that fails is added, and the others go
            on. Without it the first failure ends the bench.
        on_run: Is called with all runs so far, after each run.

    Raises:
        RunFailedError: A run failed, and there is no ``failures``.
    """
    runs: dict[Side, list[Run]] = {side: [] for side in sides}
    for pair in range(1, pairs + 1):
        for side in sides:
            if failures is not None and failures.get(side):
                continue
            try:
                one = run(side)
            except RunFailedError as error:
                if failures is None:
                    raise RunFailedError(f"{side}: {error}") from error
                failures[side] = str(error)
                print(f"  {pair}/{pairs}  {side}: {error}", flush=True)
                continue
            runs[side].append(one)
            print(f"  {pair}/{pairs}  {describe(side, one)}", flush=True)
            if on_run is not None:
                on_run(runs)
    return runs


def take_turns_in_repositories(
    work_dir: Path,
    sides: Sequence[Side],
    pairs: int,
    run: Callable[[Repository, Side], Run],
    describe: Callable[[Side, Run], str],
    *,
    failures: dict[Side, str | None] | None = None,
    on_run: Callable[[dict[Side, list[Run]]], None] | None = None,
) -> dict[Side, list[Run]]:
    """Do the same as ``take_turns``, with a fresh repository in ``work_dir`` for each run."""
    with runs_dir(work_dir) as where:

        def run_there(side: Side) -> Run:
            with fresh_repository(where) as repository:
                return run(repository, side)

        return take_turns(sides, pairs, run_there, describe, failures=failures, on_run=on_run)


def spreads(runs: Sequence[Run], keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the spread over the runs of each number, or of those named."""
    return {key: spread([one[key] for one in runs]) for key in keys or runs[0]}
