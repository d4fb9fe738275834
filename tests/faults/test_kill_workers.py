"""The work of a batch process that is killed is done again, and none outlives its session.

With ``isolation="process"``, batch processes are children of the worker process.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from invariants import assert_sound
from killing import Killing, Zygote
from points import Moment
from scenarios import IN_PROCESSES, Victims
from tally import SURVIVED
from twin import Templates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

STAGE = "stage in processes"
# A moment at which the session hands files to a batch process; some of them have started then. If
# the session has fewer moments, because it has fewer of them, ``kill`` halves the number.
IN_THE_MIDDLE = 36


@pytest.fixture(params=[Victims.SESSION], ids=lambda victims: victims.name.lower())
def killing(
    request: pytest.FixtureRequest, zygote: Zygote, templates: Templates, tmp_path: Path
) -> Killing:
    return Killing(zygote, templates, tmp_path, IN_PROCESSES, request.param)


each_kill = pytest.mark.parametrize(
    "killing", Victims, indirect=True, ids=lambda victims: victims.name.lower()
)

# While the batch process stores the first file, within a later file, and in its first answer.
MOMENTS = [("stage small", 0), ("stage small", 14), (STAGE, 1)]


@pytest.mark.parametrize(
    ("killing", "backend", "moment"),
    [
        pytest.param(
            victims,
            backend,
            moment,
            id=f"{victims.name.lower()}-{backend}-{number}",
            marks=()
            if (number, backend) in {(1, "trio"), (2, "asyncio")} and victims is Victims.SESSION
            else pytest.mark.long,
        )
        for victims in (Victims.SESSION, Victims.PROGRAM)  # in threads, and in a worker process
        for backend in ("asyncio", "trio")
        for number, moment in enumerate(MOMENTS)
        if victims is Victims.SESSION or backend == "asyncio"
    ],
    indirect=["killing"],
)
def test_a_killed_batch_process_fails_no_call(
    killing: Killing, backend: str, moment: Moment
) -> None:
    repo = killing.fresh()
    helpers = killing.helpers(repo)
    job = killing.job(repo, backend, prepare=True, batch_target=moment, alive=helpers.path)
    report = killing.zygote.run(job)
    output = helpers.end()
    assert report.signal == 0
    # Batch processes stage two of the calls. All of these processes die, and threads go on.
    assert report.errors == []
    assert output.count(b"-") >= 1
    assert report.status == {}
    assert_sound(repo)
    killing.next_session(repo, backend)
    SURVIVED["batch processes killed by SIGKILL"] += output.count(b"-")


@each_kill
@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.long)])
def test_batch_processes_end_when_their_session_is_killed(killing: Killing, backend: str) -> None:
    repo, report = killing.kill(backend, (STAGE, IN_THE_MIDDLE))
    # With a worker process, that is one of the helpers.
    assert report.helpers.count(b"+") >= (1 if killing.victims is Victims.SESSION else 2)
    killing.next_session(repo, backend)


@pytest.mark.long
@each_kill
def test_a_session_does_not_wait_for_helper_processes_of_a_killed_one(killing: Killing) -> None:
    count = killing.count("asyncio").counts[STAGE]
    repo = killing.fresh()
    helpers = killing.helpers(repo)
    job = killing.job(repo, "asyncio", prepare=True, target=(STAGE, count // 2), alive=helpers.path)
    assert killing.zygote.run(job).signal == signal.SIGKILL
    assert killing.zygote.run(killing.job(repo, "asyncio")).errors == []
    helpers.end()
    killing.next_session(repo, "asyncio")
