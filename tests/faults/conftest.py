"""Fixtures that several fault tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from killing import Zygote, zygote
from worker_agent import Agents


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.long)])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run on asyncio, and with `make test-faults` on Trio: a fault hardly depends on the loop."""
    return str(request.param)


@pytest.fixture(scope="module", name="zygote")
def _zygote(machine: Path) -> Iterator[Zygote]:
    """A process that forks a session, and kills it, on request."""
    with zygote() as started:
        yield started


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agents]:
    """Objects in the worker processes of a session, which the test calls."""
    with closing(Agents(monkeypatch, tmp_path)) as made:
        yield made
