"""Fixtures that several fault tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import Zygote, zygote


@pytest.fixture(scope="module", name="zygote")
def _zygote(machine: Path) -> Iterator[Zygote]:
    """A process that forks a session, and kills it, on request."""
    with zygote() as started:
        yield started
