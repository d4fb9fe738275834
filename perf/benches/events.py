"""What do events and progress cost?

    python -m perf events                             # five minutes
    python -m perf events --short                     # a tenth of the bytes

Each case is logged without a listener, with ``on_event``, with two consumers of ``events()``, and
with progress drawn in a terminal that another process reads. The sides take turns, each run in a
fresh process and repository. The bench measures the time, the CPU time, which other programs
disturb less, and the lag of the event loop.

Runs differ by more than the events cost. So the bench also measures single events, without
logging: the CPU time of 100,000 of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from perf.harness.bench import Bench, Job
from perf.harness.lag_probe import lags_while, summarize
from perf.harness.ratios import ratio
from perf.harness.turns import Run, spreads
from perf.harness.units import GIB, MIB
from perf.harness.workload import Workload, large_files, small_files, tiny_files
from perf.harness.workload_case import measure_case

GOAL = 1.01
ONE_EVENT_TIMES = 100_000

CASES = {
    case.name: case
    for case in (
        Workload(
            name="small-300",
            title="300 artifacts of 12 bytes, gathered",
            sources=tiny_files(300),
            options={"type": "dataset"},
        ),
        Workload(
            name="large-4",
            title="4 files of 256 MiB, copy=True",
            sources=large_files(4, 256),
            options={"type": "model", "copy": True},
            prewarm_bytes=3072 * MIB,
        ),
        Workload(
            name="dir-10k",
            title="10,000 files of 16 KiB in a directory, in place",
            sources=small_files(10_000),
            options={"type": "dataset"},
        ),
    )
}


class Events(Bench):
    name = "events"
    cases = tuple(CASES)
    sides = ("none", "on_event", "events", "progress")
    short_scale = 0.1

    def space_bytes(self, args: Namespace, result: str) -> int:
        return 4 * max(case.size(args.scale) for case in CASES.values()) + 64 * MIB

    def run(self, job: Job) -> dict[str, Any]:
        cases = [self._measure_case(case, job) for case in CASES.values()]
        one_event_us = _one_event_us()
        return {
            "scale": job.scale,
            "pairs": job.pairs,
            "goal": GOAL,
            "cases": cases,
            "one_event_us": one_event_us,
            "shares": _shares(cases, one_event_us),
        }

    def _measure_case(self, case: Workload, job: Job) -> dict[str, Any]:
        runs = measure_case(
            self.name, case, job.scale, job.pairs, self.sides, job.work_dir, _describe
        )
        return {
            "case": case.name,
            "title": case.title,
            "sides": {side: _side(each, runs["none"]) for side, each in runs.items()},
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        case, sources = CASES[given["case"]], Path(given["sources"])
        return anyio.run(_log, given["side"], case, sources, given["scale"], backend="asyncio")

    def summary(self, document: dict[str, Any]) -> str:
        one = {name: round(us, 2) for name, us in document["one_event_us"].items()}
        return (
            f"one event, in microseconds: {one}\n"
            f"share of the CPU time of each case: {document['shares']}"
        )


def _side(runs: list[Run], none: list[Run]) -> dict[str, Any]:
    return {
        **spreads(runs, ("seconds", "cpu_seconds", "lag_p99_ms", "lag_max_ms")),
        "events": median(run["events"] for run in runs),
        "times_none": _times(runs, none, "seconds"),
        "times_none_cpu": _times(runs, none, "cpu_seconds"),
    }


def _times(runs: list[Run], none: list[Run], key: str) -> dict[str, float] | None:
    """Return the ratio to the runs without a listener; None for these themselves."""
    if runs is none:
        return None
    return ratio([run[key] for run in runs], [run[key] for run in none])


def _describe(side: str, run: Run) -> str:
    return (
        f"{side:<9} {run['seconds']:6.3f} s  cpu {run['cpu_seconds']:6.3f} s  "
        f"lag p99 {run['lag_p99_ms']:.2f} max {run['lag_max_ms']:.2f} ms  "
        f"{run['events']} events"
    )


async def _log(side: str, case: Workload, where: Path, scale: float) -> dict[str, float]:
    from asynclive import AsyncLive

    calls = case.calls(where, scale)
    events = 0

    def count(event: object) -> None:
        nonlocal events
        events += 1

    async def consume(stream: AsyncIterator[object]) -> None:
        nonlocal events
        async for _ in stream:
            events += 1

    listener: dict[str, Any] = {"on_event": count} if side == "on_event" else {}
    with _terminal() if side == "progress" else nullcontext():
        live = AsyncLive(isolation="thread", progress=side == "progress", **listener)

        @asynccontextmanager
        async def entered() -> AsyncIterator[None]:
            async with anyio.create_task_group() as task_group, live:
                for _ in range(2 if side == "events" else 0):
                    task_group.start_soon(consume, live.events())
                yield

        async def log() -> None:
            async with anyio.create_task_group() as task_group:
                for call in calls:
                    task_group.start_soon(partial(live.log_artifact, call.path, **call.options))

        async with entered():
            before = time.process_time()
            lags_ms, seconds = await lags_while(log, case.prewarm_bytes / (4 * GIB) * scale)
            cpu_seconds = time.process_time() - before
        if live.statistics().logged != len(calls):
            raise SystemExit(f"{side}: {live.statistics().logged} of {len(calls)} were logged")
    lag = summarize(lags_ms, seconds)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "lag_p99_ms": lag["p99"],
        "lag_max_ms": lag["max"],
        "events": events,
    }


@contextmanager
def _terminal() -> Iterator[None]:
    """Make stderr a terminal, which another process reads."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    reader = subprocess.Popen(["cat"], stdin=master, stdout=subprocess.DEVNULL)
    os.close(master)
    stderr = sys.stderr
    with open(slave, "w") as sys.stderr:
        try:
            yield
        finally:
            sys.stderr = stderr
    reader.kill()
    reader.wait()


def _one_event_us() -> dict[str, float]:
    """Return the microseconds to make an event, to deliver it to each listener, and to read it.

    The CPU time of this thread; the least of three.
    """
    from asynclive import ArtifactStaged
    from asynclive._instrumentation.event_hub import EventHub
    from asynclive._progress.artifact_tally import Tally

    path = Path("model.pt")

    def each(publish: Any) -> float:
        begun = time.thread_time()
        for call in range(ONE_EVENT_TIMES):
            publish(ArtifactStaged(time.time(), call % 300, "model", path, 12, 1))
        return (time.thread_time() - begun) / ONE_EVENT_TIMES * 1e6

    async def measured() -> dict[str, float]:
        called, iterated, drawn = EventHub(lambda event: None), EventHub(), EventHub()
        stream = iterated.stream(ONE_EVENT_TIMES)
        drawn.listen(Tally().take)
        made = {
            "made": each(lambda event: None),
            "on_event": each(called.publish),
            "events": each(iterated.publish),
            "progress": each(drawn.publish),
        }
        iterated.close()
        begun = time.thread_time()
        async for _ in stream:
            pass
        made["read"] = (time.thread_time() - begun) / ONE_EVENT_TIMES * 1e6
        return made

    runs = [anyio.run(measured) for _ in range(3)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _shares(
    cases: list[dict[str, Any]], one_event_us: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Return the share of each case's CPU time that its events take: their number times one."""
    shares = {}
    for case in cases:
        sides = case["sides"]
        cpu_us = sides["none"]["cpu_seconds"]["median"] * 1e6
        called, iterated = sides["on_event"]["events"], sides["events"]["events"]
        iterated_us = one_event_us["events"] + one_event_us["read"]
        shares[case["case"]] = {
            "on_event": round(called * one_event_us["on_event"] / cpu_us, 5),
            "events": round(iterated * iterated_us / cpu_us, 5),
        }
    return shares


BENCH = Events()
