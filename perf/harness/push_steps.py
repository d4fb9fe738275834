"""The steps of the bench ``push``, each in a child process, in the repository of the run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from perf.harness.child_process import COMMAND, RunFailedError, with_python_path
from perf.harness.lag_probe import lags_while, summarize
from perf.harness.peak_memory import peak_mib, resident_mib
from perf.harness.repository import Repository

# A push that does not come to the point where it is killed fails the run after these.
_SECONDS = 300


def log(names: list[str]) -> dict[str, Any]:
    """Log the paths, without a push."""
    from asynclive import AsyncLive

    async def main() -> None:
        async with AsyncLive() as live:
            await asyncio.gather(*(live.log_artifact(name) for name in names))

    asyncio.run(main())
    return {}


def log_and_push(what: str, names: list[str], scale: float) -> dict[str, Any]:
    """Log, push, or do both; measure the lag of the event loop at the same time."""
    from asynclive import AsyncLive

    async def main() -> dict[str, Any]:
        async with AsyncLive(push=True if what == "log and push" else None) as live:

            async def work() -> None:
                if what == "push":
                    await live.push()
                    return
                handles = [await live.submit(name) for name in names]
                for handle in handles:
                    await handle
                    if what == "log and push":
                        await handle.pushed()

            lags_ms, seconds = await lags_while(work, scale / 8)
        return {"seconds": seconds, "lag_p99_ms": summarize(lags_ms, seconds)["p99"]}

    return asyncio.run(main())


def push_in_this_memory() -> dict[str, Any]:
    """Push all that is tracked, from a thread of this process; measure its memory."""
    from asynclive import AsyncLive

    async def main() -> dict[str, Any]:
        async with AsyncLive(isolation="thread") as live:
            start = resident_mib()
            result = await live.push()
            return {
                "seconds": result.seconds,
                "objects": result.objects,
                "start_mib": start,
                "peak_mib": peak_mib(),
            }

    return asyncio.run(main())


def push_limited(bytes_per_second: int) -> dict[str, Any]:
    """Push all that is tracked, with a limit of the bandwidth."""
    from asynclive import AsyncLive, PushPolicy

    async def main() -> dict[str, Any]:
        async with AsyncLive(push=PushPolicy(max_bandwidth=bytes_per_second)) as live:
            begun = time.perf_counter()
            await live.push()
            return {"seconds": time.perf_counter() - begun}

    return asyncio.run(main())


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "log": log,
    "overlap": log_and_push,
    "memory": push_in_this_memory,
    "limited": push_limited,
}


def run_and_kill(
    bench: str, given: dict[str, Any], repository: Repository, point: threading.Event
) -> None:
    """Run a step, and kill all of its processes once the point is reached.

    Raises:
        RunFailedError: it ended before, or did not come that far.
    """
    process = subprocess.Popen(
        [*COMMAND, "child", bench, json.dumps(given)],
        cwd=repository.path,
        env=with_python_path(repository.env),
        stdout=subprocess.DEVNULL,
    )
    reached = point.wait(_SECONDS)
    kill_all(process.pid)
    process.wait()
    if not reached:
        raise RunFailedError("it did not come to the point where it is killed")


def kill_all(pid: int) -> None:
    """Kill a process, which the caller waits for, and its helper processes.

    None of them sees another one end. The helper processes have ended: they hold no lock.
    """
    import psutil  # DVC needs it as well

    process = psutil.Process(pid)
    helpers = process.children(recursive=True)
    for each in (process, *helpers):
        each.suspend()
    for each in (process, *helpers):
        each.kill()
    _, alive = psutil.wait_procs(helpers, timeout=_SECONDS)
    if alive:
        raise RunFailedError(f"{alive} did not end")
