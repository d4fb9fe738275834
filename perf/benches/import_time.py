"""What ``import asynclive`` costs, beside ``import dvclive``: in fresh processes, in turns.

python perf/imports.py
"""

from __future__ import annotations

import subprocess
import sys

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.results import spread

BENCH = "import_time"
MODULES = ("dvclive", "asynclive")
RUNS = 15
GOAL_SECONDS = 0.06
_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def main() -> int:
    args = options.parse(options.parser(__doc__ or ""))
    full = not args.short
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        seconds: dict[str, list[float]] = {module: [] for module in MODULES}
        for _ in range(RUNS + 1):
            for module in MODULES:
                seconds[module].append(_import_seconds(module))
        # The first of each reads the files from the disk.
        sides = {module: spread(each[1:]) for module, each in seconds.items()}
        for module, each in sides.items():
            print(f"import {module:<10} {each['median'] * 1000:.0f} ms")
        payload = {"goal_seconds": GOAL_SECONDS, "sides": sides}
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _import_seconds(module: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(module)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
