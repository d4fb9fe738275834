"""Measure how late an event loop is: a task sleeps 1 ms, over and over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import anyio

from perf.harness.clock import PrewarmedClock
from perf.harness.ratios import percentile
from perf.harness.units import MIB

SLEEP_SECONDS = 0.001
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999}
# Upper edges of the histogram's buckets, in ms: four to a doubling, 1 microsecond to 1 minute.
EDGES_MS = [0.001 * 2 ** (index / 4) for index in range(104)]


async def lags_while(log: Callable[[], Awaitable[None]], scale: float) -> tuple[list[float], float]:
    """Return the lag of each sleep in ms, and the seconds of the whole.

    The lag is how much longer than 1 ms a sleep took. The sleeps begin before ``log`` starts, and
    end after it has ended. ``scale`` is that of the memory to touch before: 1.0 is 4 GiB.
    """
    lags_ms: list[float] = []

    async def sleep_on() -> None:
        while True:
            before = perf_counter()
            await anyio.sleep(SLEEP_SECONDS)
            # A loop's clock may tick a little early.
            lags_ms.append(max(0.0, perf_counter() - before - SLEEP_SECONDS) * 1000)

    with PrewarmedClock(int(4 * 1024 * MIB * scale)) as clock:
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(sleep_on)
            await anyio.sleep(20 * SLEEP_SECONDS)
            await log()
            await anyio.sleep(20 * SLEEP_SECONDS)
            task_group.cancel_scope.cancel()
    return lags_ms, clock.seconds


def summarize(lags_ms: list[float], seconds: float) -> dict[str, Any]:
    """Return the percentiles, the maximum, and the histogram of the lags."""
    ordered = sorted(lags_ms)
    counts = [0] * (len(EDGES_MS) + 1)  # the last bucket: longer than the last edge
    bucket = 0
    for lag in ordered:
        while bucket < len(EDGES_MS) and lag > EDGES_MS[bucket]:
            bucket += 1
        counts[bucket] += 1
    return {
        "seconds": seconds,
        "sleeps": len(ordered),
        **{name: percentile(ordered, share) for name, share in PERCENTILES.items()},
        "max": ordered[-1],
        "counts": counts,
    }
