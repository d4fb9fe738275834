"""Count the faults that sessions survived without a loss, and report them at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

SURVIVED: Counter[str] = Counter()
"""How often each fault, in words, was survived."""


def say(reporter: pytest.TerminalReporter) -> None:
    """Write one line for each fault when the tests end."""
    if SURVIVED:
        reporter.section("nothing lost")
        for what, times in sorted(SURVIVED.items()):
            reporter.write_line(f"{times:6,} {what}")


def hand_on(config: pytest.Config) -> None:
    """Send the counts of a pytest-xdist worker to the process that reports them."""
    if hasattr(config, "workeroutput"):
        config.workeroutput["survived"] = dict(SURVIVED)


def take(node: Any) -> None:
    """Add the counts of a pytest-xdist worker; one that crashed has sent none."""
    SURVIVED.update(getattr(node, "workeroutput", {}).get("survived", {}))
