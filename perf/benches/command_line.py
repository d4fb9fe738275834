"""``asynclive log`` of 20 files, beside 20 ``dvc add``s and one ``dvc add`` of them all.

    python perf/cli.py

From the start of the first command to the end of the last one, imports and all: what one waits
for at a terminal. The sides take turns, each in a fresh repository. Nothing is tracked before,
or a hundred other files are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import Repository, fresh_repository
from perf.harness.results import spread
from perf.harness.turns import MIN_PAIRS
from perf.harness.work_dir import runs_dir

BENCH = "command_line"
FILES = 20
FILE_BYTES = 16 * 1024
TRACKED = (0, 100)
SHORT_TRACKED = (0,)

_PYTHON = [sys.executable, "-m"]
SIDES = {
    "dvc add, 20 times": lambda names: [[*_PYTHON, "dvc", "add", "--quiet", n] for n in names],
    "dvc add, once": lambda names: [[*_PYTHON, "dvc", "add", "--quiet", *names]],
    "asynclive log": lambda names: [[*_PYTHON, "asynclive", "log", *names]],
}


def main() -> int:
    args = options.parse(options.parser(__doc__ or ""))
    counts = SHORT_TRACKED if args.short else TRACKED
    full = not args.short and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    points = [(tracked, side) for tracked in counts for side in SIDES]
    seconds: dict[tuple[int, str], list[float]] = {point: [] for point in points}
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        with runs_dir(work_dir) as where:
            for _ in range(args.pairs):
                for tracked, side in points:
                    with fresh_repository(where) as repository:
                        one = _run(repository, side, tracked)
                    seconds[tracked, side].append(one)
                    print(f"  {tracked:>4} tracked  {side:<18} {one:.2f} s", flush=True)
        payload = {
            "pairs": args.pairs,
            "files": FILES,
            "file_bytes": FILE_BYTES,
            "points": [
                {"tracked": tracked, "side": side, "seconds": spread(each)}
                for (tracked, side), each in seconds.items()
            ],
        }
        for tracked in counts:
            ours = median(seconds[tracked, "asynclive log"])
            for side in list(SIDES)[:-1]:
                times = median(seconds[tracked, side]) / ours
                print(f"{tracked:>4} tracked: {times:.1f} times as fast as {side}")
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _run(repository: Repository, side: str, tracked: int) -> float:
    """Seconds until all files are tracked."""
    if tracked:
        before = _make(repository.path, "before", tracked)
        _do(repository, [*_PYTHON, "asynclive", "log", *before])
    names = _make(repository.path, "file", FILES)
    os.sync()
    start = perf_counter()
    for command in SIDES[side](names):
        _do(repository, command)
    taken = perf_counter() - start
    found = len(list(repository.path.glob("*.bin.dvc")))
    if found != FILES + tracked:
        raise SystemExit(f"{side}: {found} .dvc files, not {FILES + tracked}")
    return taken


def _make(directory: Path, stem: str, count: int) -> list[str]:
    names = [f"{stem}-{number:03}.bin" for number in range(count)]
    for name in names:
        (directory / name).write_bytes(os.urandom(FILE_BYTES))
    return names


def _do(repository: Repository, command: list[str]) -> None:
    subprocess.run(
        command, cwd=repository.path, env=repository.env, check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    sys.exit(main())
