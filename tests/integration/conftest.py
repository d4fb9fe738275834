"""Serve the tests of whole calls on real repositories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import leftovers


@pytest.fixture
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """Check after the test that asynclive has left no temp file or directory."""
    yield
    assert leftovers(tmp_path) == []
