"""SIGKILL at any moment: what is on disk is the old state or the new one; the next run works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from killing import Killing, Zygote, spread, zygote
from points import STAGES
from scenarios import EVERYTHING, SCENARIOS, Scenario
from twin import Templates, dvc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL, no fork")

BACKENDS = ("asyncio", "trio")
ALL_STAGES = set(STAGES.values()) - {"stage in processes"}


@pytest.fixture(scope="module", name="zygote")
def _zygote(machine: Path) -> Iterator[Zygote]:
    with zygote() as started:
        yield started


def test_killed_once_in_each_stage_nothing_is_lost(
    zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, EVERYTHING)
    counts = killing.count("asyncio").counts
    assert counts.keys() == ALL_STAGES
    for moment, backend in zip(spread(counts, 1), cycle(BACKENDS), strict=False):
        repo, _ = killing.kill(backend, moment)
        killing.next_session(repo, backend)
    assert "up to date" in dvc(repo, "status")


# So many kills in each of its stages; once in each for those that are not here.
MOST = {"everything": 5, "replaced without renameat2": 2, "links without renameat2": 2}


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_moments_of_every_stage_nothing_is_lost(
    scenario: Scenario, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, scenario)
    counts = killing.count("trio").counts
    moments = spread(counts, MOST.get(scenario.name, 1))
    for moment, backend in zip(moments, cycle(BACKENDS), strict=False):
        repo, _ = killing.kill(backend, moment)
        killing.next_session(repo, backend)
    assert "up to date" in dvc(repo, "status")
