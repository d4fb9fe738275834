"""The frame of every bench: its options, which results it makes, and how they are written."""

from __future__ import annotations

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from perf.harness import results
from perf.harness.ratios import MIN_PAIRS


class SkippedError(Exception):
    """The bench cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Job:
    """One result that a bench makes: the options, and the directory to work in."""

    args: argparse.Namespace
    result: str
    work_dir: Path
    full: bool

    @property
    def pairs(self) -> int:
        pairs: int = self.args.pairs
        return pairs

    @property
    def scale(self) -> float:
        scale: float = self.args.scale
        return scale

    def write(self, payload: dict[str, Any], *, full: bool) -> Path:
        return results.write(self.result, payload, self.work_dir, full=full, out=self.args.out)

    def write_unfinished(self, payload: dict[str, Any]) -> None:
        """Keep the runs so far, in case that the bench is interrupted."""
        self.write(payload, full=False)


class Bench(ABC):
    """One question. A subclass says how to measure it; ``runner.main`` does everything else."""

    name: ClassVar[str]
    cases: ClassVar[Sequence[str]] = ()
    """The measured cases, one after the other."""
    sides: ClassVar[Sequence[str]] = ()
    """The compared programs. The sides take turns."""
    pairs: ClassVar[int] = MIN_PAIRS
    """Runs of each side in a full result."""
    short_pairs: ClassVar[int | None] = None
    """Runs of each side with ``--short``, where they are fewer."""
    short_scale: ClassVar[float | None] = None
    """The scale of ``--short``. A bench that has one also has the option ``--scale``."""
    needs_idle_machine: ClassVar[bool] = True
    in_short_suite: ClassVar[bool] = False
    """Whether ``python -m perf all --short`` runs it."""
    can_choose_cases: ClassVar[bool] = False
    """Whether there is an option ``--case``."""
    can_choose_sides: ClassVar[bool] = False
    """Whether there is an option ``--side``."""
    can_compare: ClassVar[bool] = False
    """Whether there is an option ``--against``, which adds a side of that name."""

    @property
    def description(self) -> str:
        """The docstring of the bench's file; its first line is the question."""
        return sys.modules[type(self).__module__].__doc__ or ""

    def describe(self) -> str:
        """Return the entry of ``python -m perf list``."""
        notes = [f"{self.pairs} runs of each"]
        notes += ["an idle machine"] * self.needs_idle_machine
        notes += ["in `all --short`"] * self.in_short_suite
        lines = [f"{self.name}: {self.description.splitlines()[0]}", f"    {', '.join(notes)}"]
        lines += [f"    cases: {', '.join(self.cases)}"] if self.cases else []
        lines += [f"    sides: {', '.join(self.sides)}"] if self.sides else []
        return "\n".join(lines)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027  # may be left out
        """Add the options that only this bench has."""

    def results(self, args: argparse.Namespace) -> list[str]:
        """Return the names of the result files that ``args`` asks for."""
        return [self.name]

    def is_full(self, args: argparse.Namespace, result: str) -> bool:
        """Return whether the result may replace the one in ``perf/results``."""
        reduced = args.short or args.side or args.against
        return not reduced and args.scale == 1 and args.pairs >= self.pairs

    def space_bytes(self, args: argparse.Namespace, result: str) -> int:
        """Return how many bytes have to be free in the working directory."""
        return 0

    @abstractmethod
    def run(self, job: Job) -> dict[str, Any]:
        """Measure, and return the content of the result file.

        Raises:
            RunFailedError: A run ended with an error.
            SkippedError: The bench cannot run on this machine.
        """

    def measure(self, **given: Any) -> dict[str, Any]:
        """Measure one run in the working directory. ``Repository.run`` calls this in a child."""
        raise NotImplementedError

    def summary(self, document: dict[str, Any]) -> str:
        """Return the lines that say on the terminal what came out."""
        return ""

    def failures(self, document: dict[str, Any]) -> list[str]:
        """Return what went wrong in a result that was written all the same."""
        return []

    def chosen_sides(self, args: argparse.Namespace) -> list[str]:
        """Return the sides that ``args`` asks for, and ``against`` last."""
        return [*(args.side or self.sides), *(["against"] if args.against else [])]
