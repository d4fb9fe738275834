"""SIGKILL at any moment: what is on disk is the old state or the new one; the next run works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from disk import leftovers
from invariants import assert_sound
from killing import Killing, Zygote, spread
from points import STAGES
from scenarios import EVERYTHING, HARDLINK_LOCK, SCENARIOS, Scenario
from twin import Templates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL, no fork")

ALL_STAGES = set(STAGES.values()) - {"stage in processes", "move"}


def test_killed_once_in_each_stage_nothing_is_lost(
    zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, EVERYTHING)
    counts = killing.count("asyncio").counts
    assert counts.keys() == ALL_STAGES
    killing.kill_at(spread(counts, 1))


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_moments_of_every_stage_nothing_is_lost(
    scenario: Scenario, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, scenario)
    counts = killing.count("trio").counts
    moments = spread(counts, 2 if scenario is EVERYTHING else 1)
    if not scenario.renameat2:  # with a path that is free between two of three renames
        moments += spread({"place": counts["place"]}, 5)
    killing.kill_at(moments)


def test_with_hardlink_lock_a_kill_leaves_the_lock_as_dvc_itself_does(
    zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, HARDLINK_LOCK)
    repo, _ = killing.kill("asyncio", ("tree", 0))
    report = zygote.run(killing.job(repo, "asyncio"))
    # Ours and that of `dvc status`: it has a lifetime of a year, and says nothing of its holder.
    assert [error.partition(":")[0] for error in report.errors] == ["LockTimeoutError", "LockError"]
    left = leftovers(repo)
    (repo / ".dvc" / "tmp" / "lock").unlink()
    report = zygote.run(killing.job(repo, "asyncio"))
    assert (report.errors, report.status) == ([], {})
    assert_sound(repo)
    # Where no flock holds, nobody can tell that its session is dead.
    assert leftovers(repo) == left != []
