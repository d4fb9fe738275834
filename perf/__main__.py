"""Run the benches, and make the report from their results.

python -m perf list                  name every bench and its question
python -m perf NAME [options]        run one bench; NAME --help lists its options
python -m perf all [--short]         run every bench, then plots and report
python -m perf plots [DIRECTORY]     draw the pictures of the results in a directory
python -m perf report                write the tables into README.md, docs/ and perf/README.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from perf.benches import NAMES, load
from perf.harness import child_process, results, runner


def main(arguments: list[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name in NAMES:
        return runner.main(load(name), rest)
    if name in COMMANDS:
        return COMMANDS[name](rest)
    print(f"{__doc__}\nBenches: {', '.join(NAMES)}")
    return 0 if name in ("-h", "--help") else 2


def run_all(arguments: list[str]) -> int:
    """Run every bench, each in a process of its own: a failed one does not stop the others."""
    parser = argparse.ArgumentParser(prog="python -m perf all", description=run_all.__doc__)
    parser.add_argument("--short", action="store_true", help="a part of it, in minutes")
    parser.add_argument("--resume", action="store_true", help="skip every bench with a result")
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    args = parser.parse_args(arguments)
    given = ["--short"] * args.short + ["--resume"] * args.resume
    given += ["--dir", str(args.dir)] if args.dir else []
    steps = [[name, *given] for name in NAMES if not args.short or load(name).in_short_suite]
    steps.append(["plots", str(results.directory(full=not args.short))])
    if not args.short:
        steps.append(["report"])
    failed = [step[0] for step in steps if _run(step)]
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return bool(failed)


def _run(step: list[str]) -> int:
    print(f"\n== {' '.join(step)}", flush=True)
    environment = child_process.with_python_path(os.environ)
    return subprocess.run([*child_process.COMMAND, *step], env=environment).returncode


def list_benches(arguments: list[str]) -> int:
    """Print the question, the cases and the sides of each bench."""
    for each in map(load, NAMES):
        print(each.describe())
    return 0


def plots(arguments: list[str]) -> int:
    """Draw the results in a directory, as PNG files in the same directory."""
    from perf.report.plots import draw_all

    parser = argparse.ArgumentParser(prog="python -m perf plots", description=plots.__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=results.FULL)
    for path in draw_all(parser.parse_args(arguments).directory):
        print(path)
    return 0


def report(arguments: list[str]) -> int:
    """Write the tables into README.md, docs/*.md and perf/README.md."""
    from perf.report.markers import fill_all

    for path in fill_all():
        print(path)
    return 0


def child(arguments: list[str]) -> int:
    """Measure one run of a runner, and print it as JSON. ``Repository.run`` starts this."""
    name, given = arguments
    # ``python -m`` looks for modules in the working directory first. Here that is the measured
    # repository, where an artifact may have the name of a module.
    if sys.path[0] == os.getcwd():
        del sys.path[0]
    print(json.dumps(load(name).measure(**json.loads(given))))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "all": run_all,
    "list": list_benches,
    "plots": plots,
    "report": report,
    "child": child,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
