"""What several of these have to have started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import Zygote, zygote


@pytest.fixture(scope="module", name="zygote")
def _zygote(machine: Path) -> Iterator[Zygote]:
    """A process that forks, and kills, as it is told."""
    with zygote() as started:
        yield started
