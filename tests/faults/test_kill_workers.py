"""The work of a batch process that is killed is done again, and none outlives its session."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from invariants import assert_sound
from killing import Killing, Zygote
from points import Moment
from scenarios import IN_PROCESSES
from tally import SURVIVED
from twin import Templates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

STAGE = "stage in processes"
# A moment at which the session hands files to a worker; some workers have started then. If the
# session has fewer moments, because it has fewer workers, ``kill`` halves the number.
IN_THE_MIDDLE = 36


@pytest.fixture
def killing(zygote: Zygote, templates: Templates, tmp_path: Path) -> Killing:
    return Killing(zygote, templates, tmp_path, IN_PROCESSES)


# While the worker stores the first file, within a later file, and in its first answer.
MOMENTS = [("stage small", 0), ("stage small", 14), (STAGE, 1)]


@pytest.mark.parametrize(
    ("backend", "moment"),
    [
        pytest.param(
            backend,
            moment,
            id=f"{backend}-{number}",
            marks=() if (number, backend) in {(1, "trio"), (2, "asyncio")} else pytest.mark.long,
        )
        for backend in ("asyncio", "trio")
        for number, moment in enumerate(MOMENTS)
    ],
)
def test_a_killed_worker_process_fails_no_call(
    killing: Killing, backend: str, moment: Moment
) -> None:
    repo = killing.fresh()
    workers = killing.workers(repo)
    job = killing.job(repo, backend, prepare=True, worker_target=moment, alive=workers.path)
    report = killing.zygote.run(job)
    output = workers.end()
    assert report.signal == 0
    # Worker processes stage two of the calls. All of these processes die, and threads go on.
    assert report.errors == []
    assert output.count(b"-") >= 1
    assert report.status == {}
    assert_sound(repo)
    killing.next_session(repo, backend)
    SURVIVED["worker processes killed by SIGKILL"] += output.count(b"-")


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.long)])
def test_worker_processes_end_when_their_session_is_killed(killing: Killing, backend: str) -> None:
    repo, report = killing.kill(backend, (STAGE, IN_THE_MIDDLE))
    assert report.workers.count(b"+") >= 1
    killing.next_session(repo, backend)


@pytest.mark.long
def test_a_session_does_not_wait_for_worker_processes_of_a_killed_one(killing: Killing) -> None:
    count = killing.count("asyncio").counts[STAGE]
    repo = killing.fresh()
    workers = killing.workers(repo)
    job = killing.job(repo, "asyncio", prepare=True, target=(STAGE, count // 2), alive=workers.path)
    assert killing.zygote.run(job).signal == signal.SIGKILL
    assert killing.zygote.run(killing.job(repo, "asyncio")).errors == []
    workers.end()
    killing.next_session(repo, "asyncio")
