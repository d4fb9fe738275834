"""Log many real files at once: a directory of thousands, three large files and fifty small ones.

    python examples/demo.py           # or: make demo
    python examples/demo.py --small   # a few MB, for a quick look

The program works in a temporary Git and DVC repository (in TMPDIR, if set) and removes it at the
end. It needs no network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from asynclive import AsyncLive, LoggedArtifact

MIB = 1024 * 1024
LARGE_FILES = 3
SMALL_FILES = 50
TICK_SECONDS = 0.010


@dataclass(frozen=True)
class Call:
    """The arguments of one call of ``log_artifact``."""

    path: Path
    options: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """The result of one call, and the seconds from call to return."""

    logged: LoggedArtifact
    seconds: float


@dataclass
class Outcome:
    """The results of all calls, and measurements."""

    opened_seconds: float = 0.0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    logged: int = 0
    ticks: int = 0
    largest_gap_seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a few MB instead of about 1 GB")
    args = parser.parse_args()

    # The demo logs the directory that its own modules are imported from. Without this, Python
    # would write bytecode there while it is read.
    sys.dont_write_bytecode = True
    # On SIGTERM, clean up as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="asynclive-demo-") as temp:
        return run(Path(temp).resolve(), small=args.small)


def run(temp: Path, *, small: bool) -> int:
    repo = make_repository(temp)
    calls = make_inputs(temp, repo, small=small)
    print(f"Repository   {repo}")
    print(
        f"To log       a directory (with copy=True), {LARGE_FILES} large and {SMALL_FILES} small "
        "files, all at once\n"
    )

    outcome = asyncio.run(log_all(repo, calls))

    show_table(outcome)
    show_dvcyaml(repo)
    return show_status(repo)


async def log_all(repo: Path, calls: list[Call]) -> Outcome:
    """Log everything at once. This is the part that the demo is about."""
    outcome = Outcome()
    start = time.perf_counter()
    async with AsyncLive(root=repo) as live:
        outcome.opened_seconds = time.perf_counter() - start
        ticker = asyncio.create_task(tick(outcome, len(calls)))

        async def log(call: Call) -> Row:
            called = time.perf_counter()
            logged = await live.log_artifact(call.path, **call.options)
            outcome.logged += 1
            return Row(logged, time.perf_counter() - called)

        start = time.perf_counter()
        outcome.rows = await asyncio.gather(*(log(call) for call in calls))
        outcome.seconds = time.perf_counter() - start
        ticker.cancel()
    return outcome


async def tick(outcome: Outcome, total: int) -> None:
    """Show that the event loop is free: wake up every 10 ms, and record the longest gap."""
    start = last = shown = time.perf_counter()
    live_line = sys.stdout.isatty()
    try:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            outcome.ticks += 1
            outcome.largest_gap_seconds = max(outcome.largest_gap_seconds, now - last)
            if live_line and now - shown > 0.1:
                line = f"  {now - start:.1f} s: {outcome.logged} of {total} logged"
                print(f"\r{line}", end="", flush=True)
                shown = now
            last = now
    finally:
        if live_line:
            print("\r" + " " * 40 + "\r", end="", flush=True)


# The files to log


def make_repository(temp: Path) -> Path:
    # Do not use the repository, DVC cache or pipeline that the demo may be started from.
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC"))]:
        del os.environ[name]
    os.environ["DVC_NO_ANALYTICS"] = "1"
    os.environ["DVC_SITE_CACHE_DIR"] = str(temp / "site-cache")
    repo = temp / "repo"
    repo.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=repo, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=repo, check=True)
    return repo


def make_inputs(temp: Path, repo: Path, *, small: bool) -> list[Call]:
    """Make the files to log; smaller ones if the disk has too little space."""
    packages = Path(sysconfig.get_path("purelib"))
    if small:
        packages /= "anyio"
    packages_bytes = size_of(packages)
    large_bytes = MIB if small else 256 * MIB

    # Each file is stored twice: in the DVC cache and in the workspace.
    needed = 2 * (packages_bytes + LARGE_FILES * large_bytes)
    free = shutil.disk_usage(temp).free - (64 if small else 512) * MIB
    if free < 16 * MIB:
        raise SystemExit(f"{temp.parent} has too little space. Set TMPDIR to another directory.")
    share = min(1.0, free / needed)
    if share < 1.0:
        large_bytes = int(large_bytes * share)
        print(
            f"{temp.parent} has space for {share:.0%} of the files of this demo, so it logs less. "
            "To log all of them, set TMPDIR to a directory with more space.\n"
        )
    packages = loggable(packages, int(packages_bytes * share), temp / packages.name)

    calls = [
        Call(
            packages,
            {
                "type": "dataset",
                "name": packages.name,
                "desc": "The packages this demo runs on",
                "copy": True,
            },
        )
    ]
    (repo / "checkpoints").mkdir()
    block = random.Random(0).randbytes(min(large_bytes, 16 * MIB))
    for index in range(LARGE_FILES):
        path = repo / "checkpoints" / f"epoch-{index}.pt"
        write_large(path, block, large_bytes, index)
        options = {"type": "model", "name": f"checkpoint-{index}", "meta": {"epoch": index}}
        calls.append(Call(path, options))
    (repo / "heads").mkdir()
    for index in range(SMALL_FILES):
        path = repo / "heads" / f"head-{index:02}.json"
        path.write_text(json.dumps({"head": index, "bias": index / SMALL_FILES}))
        calls.append(
            Call(
                path,
                {
                    "type": "model",
                    "name": f"head-{index:02}",
                    "desc": f"Head for class {index}",
                    "labels": ["head", f"fold-{index % 5}"],
                    "meta": {"class": index, "scores": {"f1": round(0.5 + index / 100, 2)}},
                },
            )
        )
    return calls


def write_large(path: Path, block: bytes, size: int, index: int) -> None:
    """Write ``size`` random bytes that differ for each ``index``: the block, rotated each time."""
    with path.open("wb") as file:
        while size > 0:
            at = (index * 7919 + size) % len(block)
            file.write((block[at:] + block[:at])[:size])
            size -= len(block)


def loggable(directory: Path, budget_bytes: int, links: Path) -> Path:
    """Return ``directory`` if all of it can be logged, else a directory of links to a part of it.

    The part leaves out pipes, sockets, broken links and unreadable files, and entries that
    exceed the budget. Copying follows the links.
    """
    entries = sorted(directory.iterdir())
    special = [entry for entry in entries if not all(map(is_plain, walk(entry)))]
    chosen = []
    for entry in entries:
        size = size_of(entry)
        if entry not in special and size <= budget_bytes:
            chosen.append(entry)
            budget_bytes -= size
    if chosen == entries:
        return directory
    links.mkdir()
    for entry in chosen:
        (links / entry.name).symlink_to(entry)
    print(f"Left out {len(entries) - len(chosen)} of {len(entries)} entries of {directory}\n")
    return links


def walk(path: Path) -> Iterator[Path]:
    """Yield the files at or below ``path``."""
    if not path.is_dir():
        yield path
    for folder, _, names in os.walk(path, followlinks=True):
        for name in names:
            yield Path(folder, name)


def is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and os.access(path, os.R_OK)
    except OSError:
        return False


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in walk(path) if is_plain(file))


# The output


def show_table(outcome: Outcome) -> None:
    rows = outcome.rows
    shown = rows[: 1 + LARGE_FILES + 3]
    short = shutil.get_terminal_size(fallback=(120, 24)).columns < 98

    def md5(row: Row) -> str:
        digest, dot, suffix = (row.logged.md5 or "").partition(".")
        return (digest[:10] if short else digest) + dot + suffix

    width = 14 if short else 36
    print(f"  {'name':<16}{'files':>7}{'bytes':>15}  {'MD5':<{width}}{'seconds':>9}{'MiB/s':>8}")
    for row in shown:
        logged = row.logged
        rate = logged.size / MIB / row.seconds
        print(
            f"  {logged.name:<16}{logged.nfiles:>7,}{logged.size:>15,}  {md5(row):<{width}}"
            f"{row.seconds:>9.2f}{f'{rate:,.0f}' if rate >= 1 else '-':>8}"
        )
    if rest := rows[len(shown) :]:
        slowest = f"<= {max(row.seconds for row in rest):.2f}"
        print(
            f"  {f'... {len(rest)} more':<16}{sum(row.logged.nfiles for row in rest):>7,}"
            f"{sum(row.logged.size for row in rest):>15,}  {'':<{width}}{slowest:>9}{'-':>8}"
        )
    files = sum(row.logged.nfiles for row in rows)
    size = sum(row.logged.size for row in rows)
    print(
        f"  {f'all {len(rows)} at once':<16}{files:>7,}{size:>15,}  {'':<{width}}"
        f"{outcome.seconds:>9.2f}{size / MIB / outcome.seconds:>8,.0f}\n"
    )
    print(f"Opening      {outcome.opened_seconds:.2f} s, mostly the import of DVC")
    print(
        f"Event loop   not blocked: {outcome.ticks} ticks of {TICK_SECONDS * 1000:.0f} ms, "
        f"longest gap {outcome.largest_gap_seconds * 1000:.0f} ms\n"
    )


def show_dvcyaml(repo: Path) -> None:
    text = (repo / "dvc.yaml").read_text()
    lines = text.splitlines()
    entries = YAML(typ="safe").load(text)["artifacts"]
    print(f"dvc.yaml: {len(entries)} entries under artifacts:, {len(lines)} lines")
    for line in lines[:20]:
        print(f"  {line}")
    print("  ...\n")


def show_status(repo: Path) -> int:
    print("$ dvc status")
    start = time.perf_counter()
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=repo, capture_output=True, text=True
    )
    for line in (status.stdout + status.stderr).splitlines():
        print(f"  {line}")
    print(f"  ({time.perf_counter() - start:.1f} s)")
    return 0 if status.returncode == 0 and "up to date" in status.stdout else 1


if __name__ == "__main__":
    sys.exit(main())
