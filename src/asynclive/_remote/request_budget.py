"""RequestBudget: the requests and the bytes a second that all pushes of a session share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# As much as one connection to a store in another region needs to be busy, without the hundreds of
# connections that make small stores refuse.
DEFAULT_REQUESTS = 16


class RequestBudget:
    """One pool of permits for all pushes and all remotes of a session. Used on the push loop.

    Args:
        max_requests: maximum number of requests at a time.
        max_bandwidth: maximum number of bytes a second; None: no limit.
    """

    def __init__(
        self, max_requests: int = DEFAULT_REQUESTS, max_bandwidth: int | None = None
    ) -> None:
        self.max_requests = max_requests
        self._permits = asyncio.Semaphore(max_requests)
        self._max_bandwidth = max_bandwidth

    @asynccontextmanager
    async def request(self, sent_bytes: int = 0) -> AsyncIterator[None]:
        """Hold one permit. A request is made, and signed, only inside this block.

        Args:
            sent_bytes: the bytes of the body; the block begins when the bandwidth has them left.
        """
        async with self._permits:
            await self._pay(sent_bytes)
            yield

    def slow_down(self) -> None:
        """Take note that the remote asks for fewer requests (503, SlowDown, a time-out)."""

    async def _pay(self, sent_bytes: int) -> None:
        """Wait until the bandwidth has this many bytes left."""
