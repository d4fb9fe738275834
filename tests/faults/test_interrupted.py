"""Ctrl-C, SIGTERM or an exception in the block: a call is logged completely or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from cancelling import settled
from disk import look
from gated_stage import STAGES
from interrupted import PROGRAMS
from invariants import assert_nothing_lost, entries
from moments import MomentGate, Moments, spread
from remote_moments import RemoteMoments
from tally import SURVIVED
from worker_agent import Agents

import asynclive
from asynclive import AsyncLive, NotActiveError

SENT = {name: "SIGTERM" if name.startswith("sigterm") else "SIGINT" for name in PROGRAMS}
RAISED = {
    "SIGINT": {"KeyboardInterrupt"},
    # From the cancelled task, or from the program, which leaves its cancelled scope.
    "SIGTERM": {"CancelledError", "SystemExit"},
}


def is_logged(repo: Path, size: int) -> bool:
    copy = repo / "dvclive" / "artifacts" / "artifact"
    return (
        copy.exists()
        and copy.stat().st_size == size
        and copy.with_name("artifact.dvc").exists()
        and "artifact" in entries(repo)
    )


def interrupt(repo: Path, program: str, stage: str, isolation: Isolation) -> list[str]:
    """Run the program, interrupt it at the gate, and return the lines that it prints after that."""
    here = Path(__file__).parent
    # A worker process does not look for modules next to the program.
    path = os.pathsep.join([str(Path(asynclive.__file__).parents[1]), str(here)])
    process = subprocess.Popen(
        [sys.executable, here / "interrupted.py", program, stage, repo],
        env={**os.environ, "PYTHONPATH": path, "ASYNCLIVE_ISOLATION": isolation},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        arrived = process.stdout.readline()
        assert arrived == "at the gate\n", process.stderr.read()
        process.send_signal(getattr(signal, SENT[program]))
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    return output.splitlines()


async def check_interrupted(repo: Path, program: str, stage: str, isolation: Isolation) -> None:
    source = repo / "artifact"
    source.write_bytes(bytes(range(256)) * 4 * 3 * 1024)
    async with AsyncLive(root=repo):  # creates DVC's directories, so that they are in ``before``
        pass
    before = look(repo, objects=False)
    *of_worker, error, at_work = interrupt(repo, program, stage, isolation)
    assert error in RAISED[SENT[program]]
    assert [*of_worker, at_work] == ["0"] * (2 if isolation == "process" else 1)
    assert_nothing_lost(repo)
    if stage == "commit":
        assert is_logged(repo, source.stat().st_size)
    else:
        assert look(repo, objects=False) == before
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(source, type="model", copy=True)
    assert is_logged(repo, source.stat().st_size)
    assert_nothing_lost(repo)
    SURVIVED[f"sessions interrupted by SIGINT or SIGTERM, isolation={isolation!r}"] += 1


# With a worker process, each program at a third of the stages.
IN_WORKER = [
    (program, stage)
    for number, program in enumerate(PROGRAMS)
    for stage in [*STAGES][number % 3 :: 3]
]
needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc names the standard output of a program"
)


@pytest.mark.anyio
@on_asyncio
@pytest.mark.parametrize(
    ("program", "stage"),
    [
        ("asyncio.run", "copy"),
        ("asyncio.run-background", "hash"),
        ("anyio.run-trio", "hash"),
        ("anyio.run-trio", "commit"),
        ("sigterm-task.cancel", "copy"),
    ],
)
async def test_an_interrupted_call_is_logged_completely_or_not_at_all(
    repo: Path, program: str, stage: str
) -> None:
    await check_interrupted(repo, program, stage, "thread")


@needs_proc
@pytest.mark.anyio
@on_asyncio
@pytest.mark.parametrize(
    ("program", "stage"), [("asyncio.run-background", "copy"), ("anyio.run-trio", "commit")]
)
async def test_a_call_interrupted_in_a_worker_process_is_logged_completely_or_not_at_all(
    repo: Path, program: str, stage: str
) -> None:
    await check_interrupted(repo, program, stage, "process")


@needs_proc
@pytest.mark.long
@pytest.mark.anyio
@on_asyncio
@pytest.mark.parametrize(("program", "stage"), IN_WORKER)
async def test_a_call_interrupted_at_some_stages_in_a_worker_process_is_logged_or_not_at_all(
    repo: Path, program: str, stage: str
) -> None:
    await check_interrupted(repo, program, stage, "process")


@pytest.mark.long
@pytest.mark.anyio
@on_asyncio
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_call_interrupted_in_any_way_at_any_stage_is_logged_completely_or_not_at_all(
    repo: Path, program: str, stage: str
) -> None:
    await check_interrupted(repo, program, stage, "thread")


@pytest.mark.anyio
@in_both
async def test_a_call_is_logged_completely_or_not_at_all_if_the_block_raises_at_any_stage(
    repo: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch, agents: Agents
) -> None:
    moments = Moments(monkeypatch) if isolation == "thread" else RemoteMoments(agents)
    artifact = repo / "artifact"
    artifact.write_bytes(b"counted")
    reached = 0
    async with AsyncLive(root=repo, isolation=isolation) as live:
        moments.live = live
        moment_counts = await moments.count(
            lambda: live.log_artifact(artifact, type="model", copy=True)
        )
    few = 4 if isolation == "thread" else 2
    for number, moment in enumerate(spread(moment_counts, few)):
        artifact.write_bytes(b"%d" % number)
        before, outcome = look(repo, objects=False), ""

        async def log(live: AsyncLive, number: int, gate: MomentGate) -> None:
            nonlocal outcome
            try:
                await live.log_artifact(artifact, meta={"number": number}, copy=True)
                outcome = "logged"
            except NotActiveError:
                outcome = "refused"
            finally:
                gate.reached.set()

        async def open_gate(gate: MomentGate) -> None:
            await settled()  # the block is ending, and waits for the thread
            if gate.what:  # else the call has ended, and so may the worker process have
                gate.open()

        async with anyio.create_task_group() as outside:
            with contextlib.suppress(ZeroDivisionError):
                async with AsyncLive(root=repo, isolation=isolation) as live:
                    moments.live = live
                    gate = moments.arm(moment)
                    outside.start_soon(log, live, number, gate)
                    await gate.reached.wait()
                    outside.start_soon(open_gate, gate)
                    raise ZeroDivisionError
        moments.live = None
        assert moments.running == 0
        assert_nothing_lost(repo)
        copy = repo / "dvclive" / "artifacts" / "artifact"
        SURVIVED[f"blocks left by an exception, isolation={isolation!r}"] += 1
        # The task was not cancelled itself, so the outcome of its call must match the files.
        reached += bool(gate.what)
        if moment[0] == "commit" or not gate.what:
            assert outcome == "logged"
            assert copy.read_bytes() == b"%d" % number
            assert entries(repo)["artifact"]["meta"] == {"number": number}
        else:
            assert outcome == "refused"
            assert look(repo, objects=False) == before
    assert reached >= few - 1
