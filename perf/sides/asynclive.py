"""The ways to log that are compared. Each does the same calls, in the repository it runs in.

A side opens what it needs, then does its work inside ``with clock``: what is measured is
from the first call to the point where everything is on disk as that side leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from perf.harness.standard_workloads import Call
from perf.sides import floor as bytes_alone
from perf.sides import xvc as peers

if TYPE_CHECKING:
    from dvclive import Live

Clock = AbstractContextManager[Any]
# What a side has to say of itself besides, by name.
Side = Callable[[list[Call], Clock], "dict[str, Any] | None"]


def open_dvclive() -> Live:
    """A ``Live``, with what its first call would import: up to a second, and no logging."""
    import networkx  # noqa: F401
    from dvclive import Live

    return Live(dir="dvclive", dvcyaml="dvc.yaml", save_dvc_exp=False)


def dvclive(calls: list[Call], clock: Clock) -> None:
    """One call after the other, as DVCLive is used today."""
    live = open_dvclive()
    with clock:
        for call in calls:
            live.log_artifact(call.path, **call.options)
        live.end()  # writes dvc.yaml


def naive(calls: list[Call], clock: Clock) -> None:
    """DVCLive in threads behind one lock: async code as written in ten minutes."""
    live = open_dvclive()

    async def main() -> None:
        lock = asyncio.Lock()

        async def log(call: Call) -> None:
            async with lock:
                await asyncio.to_thread(live.log_artifact, call.path, **call.options)

        with clock:
            await asyncio.gather(*map(log, calls))
            await asyncio.to_thread(live.end)

    asyncio.run(main())


def asynclive(
    calls: list[Call], clock: Clock, *, workers: int | None = None, durable: bool = False
) -> dict[str, Any]:
    """All calls gathered; what its statistics say of how they went through."""
    from asynclive import AsyncLive

    async def main() -> dict[str, Any]:
        async with AsyncLive(workers=workers, durable=durable) as live:
            with clock:
                await asyncio.gather(
                    *(live.log_artifact(call.path, **call.options) for call in calls)
                )
            done = live.statistics()
        if done.logged != len(calls):
            raise SystemExit(f"asynclive: {done.logged} artifacts logged, of {len(calls)}")
        return {
            "files_staged": done.files_staged,
            "bytes_staged": done.bytes_staged,
            "files_unchanged": done.files_unchanged,
            "group_sizes": dict(done.group_sizes),
        }

    return asyncio.run(main())


def floor(calls: list[Call], clock: Clock) -> None:
    """The bytes alone."""
    bytes_alone.prepare()
    with clock:
        bytes_alone.move(calls)


SIDES: dict[str, Side] = {
    "dvclive": dvclive,
    "naive": naive,
    "asynclive": asynclive,
    "floor": floor,
    "xvc": peers.xvc,
}


def named(side: str) -> Side:
    """A side by its name; ``asynclive@4`` is asynclive with 4 workers."""
    name, _, workers = side.partition("@")
    return partial(asynclive, workers=int(workers)) if workers else SIDES[name]
