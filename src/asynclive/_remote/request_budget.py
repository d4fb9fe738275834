"""RequestBudget: the requests and the bytes a second that all pushes of a session share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from .._artifact.push_policy import MIN_PART_SIZE

# As much as one connection to a store in another region needs to be busy, without the hundreds of
# connections that make small stores refuse.
DEFAULT_REQUESTS = 16
# A sleep may end so late on a busy machine. Over a few seconds this is no tenth of the bytes.
_CREDIT_SECONDS = 0.1

_share: ContextVar[object] = ContextVar("asynclive._remote.share", default=None)
# How often the limit had been halved when the last request of this task began.
_began: ContextVar[int | None] = ContextVar("asynclive._remote.began", default=None)


class RequestBudget:
    """One pool of permits for all pushes and all remotes of a session. Used on the push loop.

    Pushes get permits in turns, so a small one does not wait for all requests of a large one. If a
    remote asks for fewer requests, the number of permits is halved. It then grows by one for each
    round of requests that succeed, up to ``max_requests``.

    Args:
        max_requests: maximum number of requests at a time.
        max_bandwidth: maximum number of bytes a second; None: no limit.
        clock: returns seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        max_requests: int = DEFAULT_REQUESTS,
        max_bandwidth: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.max_requests = max_requests
        self._limit = float(max_requests)
        self._halvings = 0
        self._in_use = 0
        # The requests that wait for a permit, by the push that they belong to. The first push gets
        # the next permit, and then becomes the last. Bounded by the tasks of the pushes.
        self._waiting: dict[object, dict[asyncio.Event, None]] = {}
        self._bandwidth = None if max_bandwidth is None else Bandwidth(max_bandwidth)
        self._pays = asyncio.Lock()  # protects the bandwidth, from reading its time to paying
        self._clock = clock
        self._sleep = sleep

    @property
    def limit(self) -> int:
        """The number of permits at this time: 1 to ``max_requests``."""
        return int(self._limit)

    @contextmanager
    def share(self) -> Iterator[None]:
        """Count requests in this block, and in the tasks that it starts, as those of one push."""
        token = _share.set(object())
        try:
            yield
        finally:
            _share.reset(token)

    @asynccontextmanager
    async def request(self, sent_bytes: int = 0) -> AsyncIterator[None]:
        """Hold one permit. A request is made, and signed, only inside this block.

        Args:
            sent_bytes: the bytes of the body, at most one part; the block begins when the bandwidth
                has them left. A longer body pays for each part before it sends it: see ``pay``.
        """
        await self._acquire()
        try:
            began = self._halvings
            _began.set(began)
            await self.pay(sent_bytes)
            yield
            if began == self._halvings:
                self._limit = min(self.max_requests, self._limit + 1 / self._limit)
        finally:
            self._in_use -= 1
            self._grant()

    async def pay(self, sent_bytes: int) -> None:
        """Wait until the bandwidth has this many bytes left. Called while a permit is held."""
        if not sent_bytes or self._bandwidth is None:
            return
        async with self._pays:
            paid_at = self._bandwidth.paid_at(sent_bytes, self._clock())
            while (seconds := paid_at - self._clock()) > 0:
                await self._sleep(seconds)
            self._bandwidth.pay(paid_at)

    def slow_down(self) -> None:
        """Take note that the remote asks for fewer requests (503, SlowDown, a time-out).

        Call it in the task that made the request. The permits are halved at most once a round
        trip: requests that began before the last halving tell nothing about the new number.
        """
        began = _began.get()
        if began is None or began >= self._halvings:
            self._halvings += 1
            self._limit = max(1.0, self._limit / 2)

    async def _acquire(self) -> None:
        if self._in_use < self.limit and not self._waiting:
            self._in_use += 1
            return
        share = _share.get()
        granted = asyncio.Event()
        self._waiting.setdefault(share, {})[granted] = None
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():  # granted and cancelled at once: pass it on
                self._in_use -= 1
                self._grant()
            else:
                del self._waiting[share][granted]
                if not self._waiting[share]:
                    del self._waiting[share]
            raise

    def _grant(self) -> None:
        """Grant the free permits to the requests that wait."""
        while self._waiting and self._in_use < self.limit:
            share, requests = next(iter(self._waiting.items()))
            granted = next(iter(requests))
            del requests[granted], self._waiting[share]
            if requests:
                self._waiting[share] = requests
            self._in_use += 1
            granted.set()


class Bandwidth:
    """A token bucket.

    It holds the bytes of one request, or those of ``_CREDIT_SECONDS`` if they are more. So no burst
    is larger than a part, and a sleep that ends late does not slow the small requests down.

    Args:
        bytes_per_second: the bytes that it gets each second.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._credit_bytes = min(_CREDIT_SECONDS * bytes_per_second, MIN_PART_SIZE)
        # When the bytes of all requests until now were there; None: there was no request.
        self._paid_at: float | None = None

    def paid_at(self, size: int, now: float) -> float:
        """Return when the bytes of the next request are there. It may begin then."""
        since = now if self._paid_at is None else self._paid_at
        oldest = now - max(0.0, self._credit_bytes - size) / self._bytes_per_second
        return max(since + size / self._bytes_per_second, oldest)

    def pay(self, paid_at: float) -> None:
        """Take the bytes of a request that begins. Not called for one that was cancelled."""
        self._paid_at = paid_at
