"""Where events go: callbacks, and the queues of those who iterate. On the event loop alone."""

from __future__ import annotations

import inspect
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from logging import getLogger
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from .events import ArtifactEvent, ArtifactStaging, Event, EventsDropped

if TYPE_CHECKING:
    from typing_extensions import Self

logger = getLogger(__name__)

OnEvent = Callable[[ArtifactEvent], object]

# Events that wait for a slow consumer: those of some hundred artifacts, in less than 1 MiB.
QUEUED_EVENTS = 1024
# A consumer whose queue never gets empty lets others have the loop after so many.
_EVENTS_A_TURN = 32


class EventStream(AsyncIterator[Event]):
    """The events since this was made, for one consumer; ends when the block is left.

    Two tasks that iterate over one stream share its events; ask for one each to see all.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._queue: OrderedDict[int, Event] = OrderedDict()
        """By a number each; never more than the bound."""
        self._samples: OrderedDict[int, int] = OrderedDict()
        """The number of the queued sample of each call, oldest first."""
        self._next_number = 0
        self._dropped_samples = self._dropped_events = 0
        self._waiter: anyio.Event | None = None
        self._turn = 0
        self._closed = False

    def _put(self, event: ArtifactEvent) -> None:
        if self._closed:
            return
        is_sample = isinstance(event, ArtifactStaging)
        number = self._samples.get(event.call) if is_sample else None
        if number is not None:
            self._queue[number] = event  # the newer says all that the older did
            return
        if len(self._queue) >= self._bound and not self._make_room(event):
            return
        self._next_number += 1
        self._queue[self._next_number] = event
        if is_sample:
            self._samples[event.call] = self._next_number
        self._wake()

    def _make_room(self, event: ArtifactEvent) -> bool:
        """Drop what matters least; whether it was another than ``event``."""
        if self._samples:
            _, number = self._samples.popitem(last=False)
            del self._queue[number]
            self._dropped_samples += 1
        elif isinstance(event, ArtifactStaging):
            self._dropped_samples += 1
            return False
        else:
            self._queue.popitem(last=False)
            self._dropped_events += 1
        return True

    def _take(self) -> Event:
        if self._dropped_samples or self._dropped_events:
            told = EventsDropped(time.time(), self._dropped_samples, self._dropped_events)
            self._dropped_samples = self._dropped_events = 0
            return told
        number, event = self._queue.popitem(last=False)
        if isinstance(event, ArtifactStaging) and self._samples.get(event.call) == number:
            del self._samples[event.call]
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        # Each time would cost as much as the event does.
        self._turn = (self._turn + 1) % _EVENTS_A_TURN
        if not self._turn:
            await anyio.lowlevel.checkpoint()
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is None:
                self._waiter = anyio.Event()
            self._turn = 0
            await self._waiter.wait()
        return self._take()

    async def aclose(self) -> None:
        """End it now: what is queued is not yielded any more. Merely dropping it does as well."""
        self._queue.clear()
        self._samples.clear()
        self._dropped_samples = self._dropped_events = 0
        self._end()

    def _end(self) -> None:
        """Nothing more comes; what is queued is still yielded."""
        self._closed = True
        self._wake()

    @property
    def _ended(self) -> bool:
        return self._closed

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.set()
            self._waiter = None


class EventHub:
    """Gives each event to every listener.

    Args:
        on_event: the user's callback.

    Raises:
        TypeError: it is none.
    """

    def __init__(self, on_event: OnEvent | None = None) -> None:
        if on_event is not None:
            _check(on_event)
        self._callbacks: list[OnEvent] = [] if on_event is None else [on_event]
        self._failed: set[int] = set()
        """The ids of those that have: a callback need not be hashable."""
        # Weak: a consumer that merely stops iterating needs its queue no more.
        self._streams: list[weakref.ref[EventStream]] = []
        self._closed = False

    @property
    def wanted(self) -> bool:
        """Whether anybody listens: if not, events need not be made."""
        return bool(self._callbacks or self._streams)

    def listen(self, callback: OnEvent) -> None:
        self._callbacks.append(callback)

    def stream(self, bound: int) -> EventStream:
        stream = EventStream(bound)
        if self._closed:
            stream._end()
        else:
            self._streams.append(weakref.ref(stream))
        return stream

    def publish(self, event: ArtifactEvent) -> None:
        """Tell everybody, those who iterate first: a callback may bring about the next event.

        An event of another process is published as it is.
        """
        if self._streams:
            self._put(event)
        for callback in self._callbacks:
            try:
                callback(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # CancelledError too: of a future that it looked at
                # The artifact has nothing to do with it. It is called again all the same: what it
                # did not like may have been this event alone.
                self._log_failure(callback, event)

    def _put(self, event: ArtifactEvent) -> None:
        gone = False
        for reference in self._streams:
            stream = reference()
            if stream is None or stream._ended:
                gone = True
            else:
                stream._put(event)
        if gone:
            self._streams = [
                reference
                for reference in self._streams
                if (stream := reference()) is not None and not stream._ended
            ]

    def _log_failure(self, callback: OnEvent, event: ArtifactEvent) -> None:
        if id(callback) in self._failed:
            logger.debug("The callback for events failed again, at %r.", event, exc_info=True)
            return
        self._failed.add(id(callback))
        logger.exception(
            "The callback for events failed, at %r. The artifact is logged all the same, and the "
            "callback is called again; further errors of it are logged at debug level.",
            event,
        )

    def close(self) -> None:
        """Nothing more happens: those who iterate come to an end."""
        self._closed = True
        for reference in self._streams:
            if (stream := reference()) is not None:
                stream._end()
        self._streams.clear()


def _check(on_event: OnEvent) -> None:
    if not callable(on_event):
        raise TypeError(f"on_event must be callable, not {on_event!r}")
    if inspect.iscoroutinefunction(on_event) or inspect.iscoroutinefunction(
        getattr(on_event, "__call__", None)  # noqa: B004  # the method, to look at it
    ):
        raise TypeError(
            f"on_event must be a plain function, which {on_event!r} is not: nobody would await "
            "it. Iterate over events() in a task."
        )
