"""ObjectsInFlight: an object that several pushes need is sent once. Used on the push loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from ..store import Sent


class _Flight:
    """The sending of one object."""

    __slots__ = ("ended", "error", "sent")

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        # One of them is set at the end. Neither is if the push was cancelled.
        self.sent: Sent | None = None
        self.error: Exception | None = None


class ObjectsInFlight:
    """The objects that the pushes of a session are sending to one remote, or have just sent.

    A push that has looked for an object before another push sent it would send it again. So the
    objects that were sent are kept until each push that ran at that time has ended.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}
        # By MD5, in the order in which they were sent: the number of pushes begun until then.
        self._sent: dict[str, tuple[int, Sent]] = {}
        self._begun = 0
        self._running: dict[int, None] = {}

    @contextmanager
    def push(self) -> Iterator[int]:
        """Enter before a push looks for objects; yields its number, for ``send_once``."""
        self._begun += 1
        number = self._begun
        self._running[number] = None
        try:
            yield number
        finally:
            del self._running[number]
            self._forget()

    async def send_once(
        self, md5: str, push: int, send: Callable[[], Awaitable[Sent]]
    ) -> tuple[Sent, bool]:
        """Send an object, or wait for the push that does so; return whether this one has sent it.

        If the other push is cancelled, this one takes over.

        Raises:
            Exception: ``send`` raised it, of whichever push.
        """
        while (flight := self._flights.get(md5)) is not None:
            await flight.ended.wait()
            if flight.error is not None:
                raise flight.error
            if flight.sent is not None:
                return flight.sent, False
        begun, sent = self._sent.get(md5, (0, None))
        if sent is not None and begun >= push:
            return sent, False
        flight = self._flights[md5] = _Flight()
        try:
            sent = flight.sent = await send()
            self._sent.pop(md5, None)  # the new one goes to the end
            self._sent[md5] = self._begun, sent
            return sent, True
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flights[md5]
            flight.ended.set()

    def _forget(self) -> None:
        """Drop the objects that were sent before the oldest running push has begun."""
        if not self._running:
            self._sent.clear()
            return
        oldest = next(iter(self._running))
        for md5 in [*takewhile(lambda md5: self._sent[md5][0] < oldest, self._sent)]:
            del self._sent[md5]
