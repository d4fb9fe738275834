"""DVCLive: one call after the other, in the program itself or in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perf.harness.workload import Call, Clock, Side

if TYPE_CHECKING:
    from dvclive import Live


def open_dvclive() -> Live:
    """Return a ``Live``, with the modules imported that its first call would import.

    That import takes up to a second, and is no logging.
    """
    import networkx  # noqa: F401
    from dvclive import Live

    return Live(dir="dvclive", dvcyaml="dvc.yaml", save_dvc_exp=False)


def log_in_sequence(calls: list[Call], clock: Clock) -> None:
    """Make one call after the other, as DVCLive is used today."""
    live = open_dvclive()
    with clock:
        for call in calls:
            live.log_artifact(call.path, **call.options)
        live.end()  # writes dvc.yaml


def log_in_threads(calls: list[Call], clock: Clock) -> None:
    """Make each call in a thread, behind one lock: async code that takes ten minutes to write."""
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


DVCLIVE = Side("dvclive", log_in_sequence)
NAIVE = Side("naive", log_in_threads)
