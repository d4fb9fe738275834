"""A session is killed at any moment: files on disk are old or new, and the next session works."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from disk import leftovers
from invariants import assert_sound
from killing import Killing, Zygote, each_kill, spread
from points import STAGES
from scenarios import EVERYTHING, HARDLINK_LOCK, SCENARIOS, Scenario, Victims
from twin import Templates, dvc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

# These scenarios push nothing: ``test_push_isolation`` and ``test_push_killed`` kill pushes.
ALL_STAGES = set(STAGES.values()) - {"stage in processes", "move", "push"}


@each_kill
def test_a_kill_in_each_stage_loses_nothing(
    victims: Victims, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, EVERYTHING, victims)
    counts = killing.count("asyncio").counts
    assert counts.keys() == ALL_STAGES
    killing.kill_at(spread(counts, 1))


@pytest.mark.long
@each_kill
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_kill_at_several_moments_of_each_stage_loses_nothing(
    scenario: Scenario, victims: Victims, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, scenario, victims)
    counts = killing.count("trio").counts
    moments = spread(counts, 2 if scenario is EVERYTHING else 1)
    if not scenario.renameat2:  # then a path is empty between two of three renames
        moments += spread({"place": counts["place"]}, 5)
    killing.kill_at(moments)


@pytest.mark.parametrize(
    "stage",
    [
        "stage large",
        *(pytest.param(one, marks=pytest.mark.long) for one in ("plan", "stage directory", "tree")),
    ],
)
def test_a_session_loses_nothing_while_the_worker_process_of_a_killed_program_undoes(
    stage: str, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    """The worker undoes its calls only after another session has logged the same ones."""
    killing = Killing(zygote, templates, tmp_path, EVERYTHING, Victims.PROGRAM)
    repo = killing.fresh()
    helpers = killing.helpers(repo)
    held = tmp_path / "held"
    os.mkfifo(held)
    options = {"target": (stage, 1), "held": str(held), "alive": helpers.path}
    assert killing.zygote.run(killing.job(repo, "asyncio", prepare=True, **options)).signal
    report = killing.zygote.run(killing.job(repo, "trio"))
    held.write_bytes(b"")
    helpers.end()
    if stage == "tree":  # the worker holds DVC's lock, and completes its group
        # From our session and `dvc status`.
        locked = {error.partition(":")[0] for error in report.errors}
        assert locked == {"LockTimeoutError", "LockError"}
        report = killing.next_session(repo, "trio")
    killing.check_complete(repo, report)
    assert leftovers(repo) == []
    assert "up to date" in dvc(repo, "status")


def test_a_kill_with_hardlink_lock_leaves_the_lock_as_dvc_does(
    zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Killing(zygote, templates, tmp_path, HARDLINK_LOCK)
    repo, _ = killing.kill("asyncio", ("tree", 0))
    report = zygote.run(killing.job(repo, "asyncio"))
    # From our session and `dvc status`. The lock expires after a year and does not name its holder.
    assert [error.partition(":")[0] for error in report.errors] == ["LockTimeoutError", "LockError"]
    left = leftovers(repo)
    (repo / ".dvc" / "tmp" / "lock").unlink()
    report = zygote.run(killing.job(repo, "asyncio"))
    assert (report.errors, report.status) == ([], {})
    assert_sound(repo)
    # Without flock, no session can detect that another one is dead.
    assert leftovers(repo) == left != []
