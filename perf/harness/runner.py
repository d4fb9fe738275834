"""Run a bench: parse its options, make its results in turn, report failures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from perf.harness import arguments, machine, results
from perf.harness.bench import Bench, Job, SkippedError
from perf.harness.child_process import RunFailedError
from perf.harness.work_dir import need_space, work_dir


def main(bench: Bench, given: list[str] | None = None) -> int:
    """Run a bench with the options in ``given``; return the exit status."""
    args = arguments.parse(bench, given)
    wanted = []
    for result in bench.results(args):
        full = bench.is_full(args, result)
        if not (args.resume and results.exists(result, results.directory(full=full, out=args.out))):
            wanted.append((result, full))
    if not wanted:
        return 0
    with work_dir(args.dir) as where:
        _print_machine(bench, where)
        # Not any(): a failed result does not stop those after it.
        failed = [_make(bench, Job(args, result, where, full)) for result, full in wanted]
    return max(failed)


def _make(bench: Bench, job: Job) -> int:
    need_space(job.work_dir, bench.space_bytes(job.args, job.result), job.result)
    try:
        payload = bench.run(job)
    except SkippedError as error:
        print(f"Skipped: {error}.")
        return 0
    except RunFailedError as error:
        print(error, file=sys.stderr)
        return 1
    path = job.write(payload, full=job.full)
    if summary := bench.summary(payload):
        print(f"\n{summary}\n")
    print(path, flush=True)
    return bool(bench.failures(payload))


def _print_machine(bench: Bench, where: Path) -> None:
    facts = machine.describe(where)
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if bench.needs_idle_machine and load > 0.5:
        print(f"Warning: the load is {load:.1f}; {bench.name} needs an idle machine.", flush=True)
