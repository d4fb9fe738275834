"""Times asynclive against DVCLive and against the bytes alone, on one machine, in one run.

    python perf/bench.py                              # everything: takes some minutes
    python perf/bench.py --workload big-8 --json out.json
    python perf/bench.py --scale 0.02 --pairs 1       # does the bench itself work?

The sides of a workload take turns (A B C A B C ...), each run in a fresh process and a fresh
repository that is removed after it. Sources are in the page cache, and what the run before it
wrote is on disk, before a run starts. Opening the repository (the import of DVC) comes before
the clock for every side. Numbers are medians; ratios are made from three pairs or more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import worker
from report import MIN_PAIRS, Series, WorkloadResult, table
from sides import SIDES
from workdir import runs_dir
from workloads import MIB, WORKLOADS, Workload, make_sources, place_sources

_BY_NAME = {workload.name: workload for workload in WORKLOADS}


def main() -> int:
    args = _parse_args()
    if args.worker:
        worker.run(args.worker, _BY_NAME[args.workload[0]], args.sources, args.scale)
        return 0
    if args.dir is not None:
        args.dir.mkdir(parents=True, exist_ok=True)
        return _bench(args, args.dir.resolve())
    with tempfile.TemporaryDirectory(prefix="asynclive-bench-") as work_dir:
        return _bench(args, Path(work_dir))


def _bench(args: argparse.Namespace, work_dir: Path) -> int:
    facts = machine.describe(work_dir)
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    results = []
    for name in args.workload or list(_BY_NAME):
        result = _measure(_BY_NAME[name], args.side or list(SIDES), args, work_dir)
        results.append(result)
        print(f"\n{table(result)}\n", flush=True)
        if args.json is not None:  # after each, so that what is done survives an interrupt
            report = {"machine": facts, "workloads": [each.as_json() for each in results]}
            args.json.write_text(json.dumps(report, indent=2) + "\n")
    return any(series.failure for result in results for series in result.series.values())


def _measure(
    workload: Workload, sides: list[str], args: argparse.Namespace, work_dir: Path
) -> WorkloadResult:
    print(f"\n{workload.name}: {workload.title}", flush=True)
    size = sum(source.size for source in workload.sources(args.scale))
    # The sources, and three times as much for what a side has on disk at its worst.
    needed, free = 4 * size + 512 * MIB, shutil.disk_usage(work_dir).free
    if free < needed:
        raise SystemExit(
            f"{workload.name} needs {needed // MIB} MiB in {work_dir}, which has "
            f"{free // MIB} MiB free. Name another directory with --dir."
        )
    made = make_sources(workload, args.scale, work_dir / "sources")
    series = {side: Series(side) for side in sides if side != "floor" or workload.has_floor}
    with runs_dir(work_dir) as where:
        for pair in range(1, args.pairs + 1):
            for one in series.values():
                if one.failure:
                    continue
                _run_once(workload, one, args.scale, made, where)
                said = one.failure or (
                    "{seconds:6.2f} s  (user {user_seconds:.2f}, system {system_seconds:.2f})"
                ).format(**one.runs[-1])
                print(f"  {pair}/{args.pairs}  {one.side:<10} {said}", flush=True)
    return WorkloadResult(workload.name, workload.title, size, args.scale, args.pairs, series)


def _run_once(workload: Workload, series: Series, scale: float, made: Path, where: Path) -> None:
    run_dir = Path(tempfile.mkdtemp(dir=where))
    try:
        repo = run_dir / "repo"
        env = _environment(run_dir)
        _make_repository(repo, env)
        sources = place_sources(workload, scale, made, repo)
        os.sync()  # nothing of an earlier run is written back during this one
        done = subprocess.run(
            [
                *(sys.executable, str(Path(__file__).resolve())),
                *("--worker", series.side, "--workload", workload.name),
                *("--sources", str(sources), "--scale", str(scale)),
            ],
            cwd=repo,
            env=env,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            series.runs.append(json.loads(done.stdout.splitlines()[-1]))
        else:
            lines = (done.stderr or done.stdout).strip().splitlines()
            series.failure = lines[-1] if lines else f"exit status {done.returncode}"
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _make_repository(repo: Path, env: dict[str, str]) -> None:
    repo.mkdir()
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for command in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [*git, "commit", "--quiet", "--message", "start"],
    ):
        subprocess.run(command, cwd=repo, env=env, check=True, stdout=subprocess.DEVNULL)


def _environment(run_dir: Path) -> dict[str, str]:
    """The environment, without what would point Git and DVC elsewhere or make them report."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC", "PYTEST_"))}
    env["DVC_SITE_CACHE_DIR"] = str(run_dir / "site-cache")
    env["DVC_NO_ANALYTICS"] = "1"
    return env


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workload",
        action="append",
        choices=sorted(_BY_NAME),
        help="only this one; may be given again (default: all)",
    )
    parser.add_argument(
        "--side",
        action="append",
        choices=list(SIDES),
        help="only this one; may be given again (default: all)",
    )
    parser.add_argument(
        "--pairs", type=int, default=MIN_PAIRS, help="runs of each side (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument(
        "--dir", type=Path, help="work there and keep the sources (default: a temporary directory)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="make the workloads smaller, to try the bench"
    )
    parser.add_argument("--worker", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pairs < 1:
        parser.error("--pairs must be at least 1")
    return args


if __name__ == "__main__":
    sys.exit(main())
