"""The command-line options that every bench has, and those it may ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.harness.bench import Bench


def parse(bench: Bench, given: list[str] | None = None) -> argparse.Namespace:
    """Parse the options of a bench. ``pairs`` and ``scale`` hold the values to use."""
    parser = argparse.ArgumentParser(
        prog=f"python -m perf {bench.name}",
        description=bench.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(scale=1.0, case=None, side=None, against=None)
    parser.add_argument(
        "--short", action="store_true", help="a part of it, in minutes, to perf/results/short"
    )
    parser.add_argument(
        *("--pairs", "--rounds", "--runs"),
        dest="pairs",
        type=int,
        help=f"runs of each side (default: {bench.pairs})",
    )
    parser.add_argument("--resume", action="store_true", help="skip every result that exists")
    parser.add_argument("--out", type=Path, help="write results there")
    parser.add_argument(
        "--dir", type=Path, help="work there and keep the sources (default: a temporary directory)"
    )
    if bench.short_scale is not None:
        parser.add_argument(
            "--scale", type=float, default=1.0, help="make the work smaller, to try the bench"
        )
    if bench.can_choose_cases:
        parser.add_argument(
            *("--case", "--workload"),
            dest="case",
            action="append",
            choices=list(bench.cases),
            help="only this case; may be given again (default: all)",
        )
    if bench.can_choose_sides:
        parser.add_argument(
            "--side",
            action="append",
            choices=list(bench.sides),
            help="only this side; may be given again (default: all)",
        )
    if bench.can_compare:
        parser.add_argument(
            "--against",
            type=Path,
            metavar="SRC",
            help="compare with the asynclive in the src directory of another checkout",
        )
    bench.add_arguments(parser)
    args = parser.parse_args(given)
    if args.pairs is None:
        args.pairs = (bench.short_pairs if args.short else None) or bench.pairs
    if args.pairs < 1:
        parser.error("--pairs must be at least 1")
    if args.short and bench.short_scale is not None:
        args.scale = bench.short_scale
    if args.against is not None:
        args.against = args.against.resolve()
        if not (args.against / "asynclive" / "__init__.py").is_file():
            parser.error(f"--against: there is no package asynclive in {args.against}")
    return args
