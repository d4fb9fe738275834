"""Peak memory of logging one artifact, by the size of a file and by the number of files.

    python perf/memory.py [--dir DIR] [--files 1000 10000] [--mib 1 64]

Each case runs in a fresh process and a fresh repository. What counts is the peak of the
resident memory while the call runs, above what the process held once ``AsyncLive`` was
entered (DVC is imported by then). The goal: 64 MiB, and 1 KiB a file. Large files are sparse
(what is written of them is not); small ones hold 16 bytes, each different, in directories
of 100.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from perf.harness import results
from perf.harness.repository import environment, make_repository
from perf.harness.standard_workloads import MIB
from perf.harness.work_dir import runs_dir
from perf.harness.workload_run import peak_rss_mib

FILES = (1_000, 10_000, 50_000, 200_000)
SIZES_MIB = (1, 64, 1024, 4096)
GOAL_MIB = 64.0
GOAL_FILE_MIB = 1 / 1024


def main() -> int:
    args = _parse_args()
    if args.worker:
        print(json.dumps(_log(args.worker, copy=args.copy)))
        return 0
    with tempfile.TemporaryDirectory(prefix="asynclive-memory-", dir=args.dir) as name:
        work_dir = Path(name)
        wanted = [(1, size * MIB) for size in args.mib] + [(files, 16) for files in args.files]
        cases = [_case(work_dir, *what, copy) for what in wanted for copy in (False, True)]
        full = (tuple(args.mib), tuple(args.files)) == (SIZES_MIB, FILES)
        results.write("memory", {"cases": cases}, work_dir, full=full)
    return 0


def _case(work_dir: Path, files: int, file_bytes: int, copy: bool) -> dict[str, object]:
    with runs_dir(work_dir) as where:
        repo, env = where / "repo", environment(where)
        make_repository(repo, env)
        source = (where if copy else repo) / "artifact"
        _make_source(source, files, file_bytes)
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(source)]
        done = subprocess.run(
            command + ["--copy"] * copy, cwd=repo, env=env, stdout=subprocess.PIPE, check=True
        )
        measured = json.loads(done.stdout)
    above = measured["peak_mib"] - measured["start_mib"]
    goal = GOAL_MIB + files * GOAL_FILE_MIB
    what = f"{files:,} files" if files > 1 else f"{file_bytes / MIB:,.0f} MiB file"
    print(
        f"{what:>16} {'copied' if copy else 'in place':<9} start {measured['start_mib']:5.0f} MiB"
        f"  above {above:6.1f} MiB  goal {goal:5.0f} MiB  {'met' if above <= goal else 'MISSED'}",
        flush=True,
    )
    return {
        "files": files,
        "file_bytes": file_bytes,
        "copy": copy,
        **measured,
        "above_mib": above,
        "goal_mib": goal,
        "met": above <= goal,
    }


def _make_source(source: Path, files: int, file_bytes: int) -> None:
    if files == 1:
        with source.open("wb") as file:
            file.truncate(file_bytes)
        return
    for index in range(files):
        if index % 100 == 0:
            folder = source / f"{index // 10_000:02}" / f"{index // 100:04}"
            folder.mkdir(parents=True)
        (folder / f"{index:06}.bin").write_bytes(b"%016d" % index)


def _log(source: str, *, copy: bool) -> dict[str, float]:
    from asynclive import AsyncLive

    async def main() -> dict[str, float]:
        async with AsyncLive(isolation="thread") as live:  # all of it in this process
            start = _resident_mib()
            await live.log_artifact(source, type="dataset", name="artifact", copy=copy)
            return {"start_mib": start, "peak_mib": _peak_mib()}

    return asyncio.run(main())


def _resident_mib() -> float:
    """What the process holds now; from here on counts what ``_peak_mib`` returns."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again from here
        return _status_mib("VmRSS")
    except OSError:  # not on Linux: the peak so far, which is a little more
        return peak_rss_mib()


def _peak_mib() -> float:
    try:
        # Not getrusage: there a process starts with the peak of the one that started it.
        return _status_mib("VmHWM")
    except OSError:
        return peak_rss_mib()


def _status_mib(name: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--files", type=int, nargs="*", default=FILES, help="of a directory")
    parser.add_argument("--mib", type=int, nargs="*", default=SIZES_MIB, help="of a single file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--copy", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
