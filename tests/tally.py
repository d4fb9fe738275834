"""Counts what the tests of faults did to a session with nothing lost, and says it at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

SURVIVED: Counter[str] = Counter()
"""What was done to it, in words, and how often."""


def say(reporter: pytest.TerminalReporter) -> None:
    """One line for each, as the tests end."""
    if SURVIVED:
        reporter.section("nothing lost")
        for what, times in sorted(SURVIVED.items()):
            reporter.write_line(f"{times:6,} {what}")


def hand_on(config: pytest.Config) -> None:
    """From a process of pytest-xdist, as it ends, to the one that says it."""
    if hasattr(config, "workeroutput"):
        config.workeroutput["survived"] = dict(SURVIVED)


def take(node: Any) -> None:
    """What a process of pytest-xdist has handed on; one that crashed has nothing."""
    SURVIVED.update(getattr(node, "workeroutput", {}).get("survived", {}))
