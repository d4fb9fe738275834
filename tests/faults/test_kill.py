"""SIGKILL at any moment: what is on disk is the old state or the new one; the next run works."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from killing import Killing, Zygote, spread, zygote
from points import STAGES
from scenarios import EVERYTHING, SCENARIOS, Scenario
from twin import Templates

BACKENDS = ("asyncio", "trio")


@pytest.fixture(scope="module", name="zygote")
def _zygote(machine: Path) -> Iterator[Zygote]:
    with zygote() as started:
        yield started


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_moments_of_every_stage_nothing_is_lost(
    scenario: Scenario, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, scenario)
    counts = killing.count("asyncio").counts
    backends = cycle(BACKENDS)
    for moment, backend in zip(spread(counts, 3), backends):
        repo, report = killing.kill(backend, moment)
        killing.next_session(repo, backend)
