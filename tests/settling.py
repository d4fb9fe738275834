"""Wait until the tasks of an event loop have done all that they can do by themselves."""

from __future__ import annotations

import anyio
import anyio.lowlevel


async def settled() -> None:
    """Return once no other task can continue by itself; worker threads may still run."""
    # On asyncio, anyio checks which tasks wait, but not which callbacks are scheduled.
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()
