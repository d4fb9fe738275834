"""PushService: sends units to their remotes, in the push thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ..._artifact.push_policy import Verify
from ..._artifact.push_records import PushResult, PushUnit, RemoteDescription
from ..._instrumentation.push_progress import PushCounts
from .push_thread import PushThread


class UnitPusher(Protocol):
    """Sends units. Used on the loop of the push thread alone. ``Pusher`` implements it."""

    async def push(
        self, units: Sequence[PushUnit], verify: Verify | None, counts: PushCounts
    ) -> PushResult: ...

    async def aclose(self) -> None: ...


class PushService:
    """Sends units for the tasks of a session. Used on the event loop of the session.

    Args:
        make_pusher: makes the pusher, in the push thread: its imports take a while. It is given
            the first remote.
    """

    def __init__(self, make_pusher: Callable[[RemoteDescription], UnitPusher]) -> None:
        self._make_pusher = make_pusher
        self._thread = PushThread()
        self._pusher: UnitPusher | None = None  # made and used in the push thread

    async def push(
        self, units: Sequence[PushUnit], verify: Verify | None, counts: PushCounts, remote: str
    ) -> PushResult:
        """Send the objects of the units that their remotes lack, and prove all of them.

        Args:
            units: the units.
            verify: how each object is proven.
            counts: are told how far the push has come.
            remote: the name in the result if there are no units.

        Raises:
            PushError: objects could not be pushed.

        Cancellation: stops the push, and waits until nothing of it is in flight.
        """
        if not units:
            return PushResult(remote, 0, 0, 0, 0, "size", "", 0.0)
        return await self._thread.run(partial(self._push, units, verify, counts))

    async def aclose(self) -> None:
        """Close the connections, and end the push thread. No push is in flight."""
        try:
            if self._pusher is not None:
                await self._thread.run(self._pusher.aclose)
        finally:
            await self._thread.aclose()

    async def _push(
        self, units: Sequence[PushUnit], verify: Verify | None, counts: PushCounts
    ) -> PushResult:
        if self._pusher is None:
            self._pusher = self._make_pusher(units[0].remote)
        return await self._pusher.push(units, verify, counts)
