"""The options that every bench has, and what they mean."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perf.harness.turns import MIN_PAIRS

MIB = 2**20


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--short", action="store_true", help="less of it, in minutes, to perf/results/short"
    )
    made.add_argument(
        "--pairs", type=int, default=MIN_PAIRS, help="runs of each side (default: %(default)s)"
    )
    made.add_argument("--resume", action="store_true", help="skip what has a result already")
    made.add_argument("--out", type=Path, help="write results there")
    made.add_argument(
        "--dir", type=Path, help="work there and keep the sources (default: a temporary directory)"
    )
    return made


def parse(made: argparse.ArgumentParser, given: list[str] | None = None) -> argparse.Namespace:
    args = made.parse_args(given)
    if args.pairs < 1:
        made.error("--pairs must be at least 1")
    return args


@contextmanager
def work_dir(args: argparse.Namespace) -> Iterator[Path]:
    """The directory to work in: the one given, or a temporary one."""
    if args.dir is not None:
        args.dir.mkdir(parents=True, exist_ok=True)
        yield args.dir.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="asynclive-bench-") as name:
        yield Path(name)


def there(bench: str, directory: Path) -> bool:
    """Whether a bench has its result; says so."""
    path = directory / f"{bench}.json"
    if path.exists():
        print(f"{bench}: in {directory.name}/ already", flush=True)
    return path.exists()


def need_space(where: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(where).free
    if free < needed:
        raise SystemExit(
            f"{what} needs {needed // MIB} MiB in {where}, which has {free // MIB} MiB free. "
            "Name another directory with --dir."
        )


def print_machine(facts: dict[str, object]) -> None:
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
