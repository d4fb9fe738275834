"""asynclive: all calls gathered."""

from __future__ import annotations

import asyncio
from typing import Any

from perf.harness.workload import Call, Clock, Side


def log_gathered(
    calls: list[Call], clock: Clock, *, workers: int | None = None, durable: bool = False
) -> dict[str, Any]:
    """Log all calls at once; return the counts from ``AsyncLive.statistics()``."""
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


ASYNCLIVE = Side("asynclive", log_gathered)
