"""All benches, then the pictures and the tables: what matters most comes first.

    python -m perf                                   # make bench-full: two hours
    python -m perf      --resume                     # goes on where it was stopped
    python -m perf      --short                      # make bench: some minutes

Each bench writes its result when it is done (the workloads one by one), so an interrupt costs
no more than the one that runs. A bench that fails does not stop those after it. A full run
writes to ``perf/results``, and the READMEs are made anew from it; a short one writes to
``perf/results/short``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from perf.harness import arguments as options
from perf.harness import results

FULL = (
    *("workloads", "scaling", "many_processes", "loop_lag", "import_time", "memory", "reflink"),
    *(
        "large_in_flight",
        "workers",
        "durable",
        "cancel_latency",
        "command_line",
        "isolation",
        "events",
        "training_stall",
    ),
)
SHORT = ("workloads", "loop_lag", "import_time", "scaling", "many_processes", "training_stall")
# Each with one result and no options but --dir.
PLAIN = ("memory", "reflink", "large_in_flight", "cancel_latency")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="less of it, in minutes")
    parser.add_argument("--resume", action="store_true", help="skip what has a result already")
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    args = parser.parse_args()
    failed = []
    for bench in SHORT if args.short else FULL:
        if bench in PLAIN and args.resume and options.there(bench, results.FULL):
            continue
        given = ["--dir", str(args.dir)] if args.dir else []
        if bench not in PLAIN:
            given += ["--short"] * args.short + ["--resume"] * args.resume
        if _run(f"perf.benches.{bench}", *given):
            failed.append(bench)
    drawn = results.directory(full=not args.short)
    if _run("perf.report.plots", str(drawn)):
        failed.append("plots")
    if not args.short and _run("perf.report.markers"):
        failed.append("readme")
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return bool(failed)


def _run(script: str, *arguments: str) -> int:
    print(f"\n== {script} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", script, *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main())
