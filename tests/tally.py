"""Counts what the tests of faults did to a session with nothing lost, and says it at the end."""

from __future__ import annotations

from collections import Counter

import pytest

SURVIVED: Counter[str] = Counter()
"""What was done to it, in words, and how often."""


def say(reporter: pytest.TerminalReporter) -> None:
    """One line for each, as the tests end."""
    if SURVIVED:
        reporter.section("nothing lost")
        for what, times in sorted(SURVIVED.items()):
            reporter.write_line(f"{times:6,} {what}")
