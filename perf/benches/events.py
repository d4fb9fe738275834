"""What it costs to be told: events by a callback, by iterating, and progress in a terminal.

    python perf/events.py                             # five minutes
    python perf/events.py --short                     # a tenth of the bytes

Each is logged without anybody who listens, with ``on_event``, with two consumers of
``events()``, and with progress drawn in a terminal that another process reads: the sides take
turns, each run in a fresh process and repository. Beside the time there is what the processor
did for it, which other programs disturb less, and how late the event loop was: a task sleeps
1 ms, over and over. What it says for one event is what 100,000 of them took, to nobody else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from perf.benches.loop_lag import lags_while, summary
from perf.harness import arguments as options
from perf.harness import machine, results
from perf.harness.repository import RunFailedError
from perf.harness.sources import KIB, MIB, Sources
from perf.harness.standard_workloads import Workload
from perf.harness.turns import MIN_PAIRS, of_case, times

BENCH = "events"
SIDES = ("nobody", "on_event", "events", "progress")
SHORT_SCALE = 0.1
GOAL = 1.01
ONE_EVENT_TIMES = 100_000


def _count(whole: int, scale: float) -> int:
    return max(1, round(whole * scale))


CASES = {
    case.name: case
    for case in (
        Workload(
            name="small-300",
            title="300 artifacts of 12 bytes, gathered",
            sources=lambda scale: [
                Sources(f"artifact-{index:04}.bin", 12) for index in range(_count(300, scale))
            ],
            options={"type": "dataset"},
        ),
        Workload(
            name="large-4",
            title="4 files of 256 MiB, copy=True",
            sources=lambda scale: [
                Sources(f"checkpoint-{index}.pt", _count(256 * MIB, scale)) for index in range(4)
            ],
            options={"type": "model", "copy": True},
            prewarm_bytes=3072 * MIB,
        ),
        Workload(
            name="dir-10k",
            title="10,000 files of 16 KiB in a directory, in place",
            sources=lambda scale: [Sources("dataset", 16 * KIB, _count(10_000, scale), isdir=True)],
            options={"type": "dataset"},
        ),
    )
}


def main() -> int:
    args = _parse_args()
    if args.run:
        print(json.dumps(_run(args.run, CASES[args.case], args.sources, args.scale)))
        return 0
    scale = SHORT_SCALE if args.short else args.scale
    full = scale == 1 and args.pairs >= MIN_PAIRS
    if args.resume and options.there(BENCH, results.directory(full=full, out=args.out)):
        return 0
    with options.work_dir(args) as work_dir:
        options.print_machine(machine.describe(work_dir))
        try:
            cases = [_measure(case, scale, args.pairs, work_dir) for case in CASES.values()]
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 1
        one = _one_event()
        print("\none event, in microseconds:", {name: round(us, 2) for name, us in one.items()})
        print("of the processor's time:", _shares(cases, one))
        payload = {
            "scale": scale,
            "pairs": args.pairs,
            "goal": GOAL,
            "cases": cases,
            "one_event_us": one,
            "shares": _shares(cases, one),
        }
        print(results.write(BENCH, payload, work_dir, full=full, out=args.out))
    return 0


def _measure(case: Workload, scale: float, pairs: int, work_dir: Path) -> dict[str, Any]:
    print(f"\n{case.title}", flush=True)
    sources = case.sources(scale)
    options.need_space(work_dir, 4 * sum(each.size for each in sources) + 64 * MIB, BENCH)
    runs = of_case("perf.benches.events", case, scale, pairs, SIDES, work_dir, _said)
    return {
        "case": case.name,
        "title": case.title,
        "sides": {
            side: {
                **{
                    key: results.spread([one[key] for one in each])
                    for key in ("seconds", "cpu_seconds", "lag_p99_ms", "lag_max_ms")
                },
                "events": median(one["events"] for one in each),
                "times_nobody": _ratio(each, runs["nobody"], "seconds"),
                "times_nobody_cpu": _ratio(each, runs["nobody"], "cpu_seconds"),
            }
            for side, each in runs.items()
        },
    }


def _said(side: str, one: dict[str, Any]) -> str:
    return (
        f"{side:<9} {one['seconds']:6.3f} s  cpu {one['cpu_seconds']:6.3f} s  "
        f"lag p99 {one['lag_p99_ms']:.2f} max {one['lag_max_ms']:.2f} ms  "
        f"{one['events']} events"
    )


def _ratio(
    side: list[dict[str, Any]], nobody: list[dict[str, Any]], key: str
) -> dict[str, float] | None:
    """Of the medians, with the least and the most of single pairs."""
    if side is nobody:
        return None
    return times([one[key] for one in side], [one[key] for one in nobody])


def _run(side: str, case: Workload, where: Path, scale: float) -> dict[str, float]:
    return anyio.run(_log, side, case, where, scale, backend="asyncio")


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

    told: dict[str, Any] = {"on_event": count} if side == "on_event" else {}
    with _terminal() if side == "progress" else _no_terminal():
        live = AsyncLive(isolation="thread", progress=side == "progress", **told)

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
            lags_ms, seconds = await lags_while(log, case.prewarm_bytes / (4 * 1024 * MIB) * scale)
            cpu_seconds = time.process_time() - before
        if live.statistics().logged != len(calls):
            raise SystemExit(f"{side}: {live.statistics().logged} of {len(calls)} were logged")
    lag = summary(lags_ms, seconds)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "lag_p99_ms": lag["p99"],
        "lag_max_ms": lag["max"],
        "events": events,
    }


@contextmanager
def _no_terminal() -> Iterator[None]:
    yield


@contextmanager
def _terminal() -> Iterator[None]:
    """Stderr is a terminal, which another process reads."""
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


def _one_event() -> dict[str, float]:
    """Microseconds for an event: to make it; with giving it to each kind of listener; to read it.

    Of the processor's time of this thread, the least of three.
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


def _shares(cases: list[dict[str, Any]], one: dict[str, float]) -> dict[str, dict[str, float]]:
    """What the events of each case take of its processor's time: beneath what runs differ by."""
    shares = {}
    for case in cases:
        sides = case["sides"]
        cpu_us = sides["nobody"]["cpu_seconds"]["median"] * 1e6
        called, iterated = sides["on_event"]["events"], sides["events"]["events"]
        shares[case["case"]] = {
            "on_event": round(called * one["on_event"] / cpu_us, 5),
            "events": round(iterated * (one["events"] + one["read"]) / cpu_us, 5),
        }
    return shares


def _parse_args() -> argparse.Namespace:
    parser = options.parser(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="less, to try the bench")
    parser.add_argument("--run", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    return options.parse(parser)


if __name__ == "__main__":
    sys.exit(main())
