"""Delivers events to callbacks and to the queues of iterators. Used on the event loop only."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from logging import getLogger
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from .events import ArtifactEvent, ArtifactStaging, Event, EventsDropped, PushProgress

if TYPE_CHECKING:
    from typing_extensions import Self

logger = getLogger(__name__)

OnEvent = Callable[[ArtifactEvent], object]

# Default limit of a stream's queue, in events: enough for some hundred artifacts, below 1 MiB.
QUEUED_EVENTS = 1024
# A consumer whose queue is never empty yields to the event loop once in so many events.
_EVENTS_PER_CHECKPOINT = 32


def _sampled(event: Event) -> object | None:
    """Return what an event is a sample of, as a key; None: it is no sample."""
    if isinstance(event, ArtifactStaging):
        return event.call
    if isinstance(event, PushProgress):
        return "push", event.push
    return None


def _check_nothing() -> None:
    """Allow iterating everywhere."""


class EventStream(AsyncIterator[Event]):
    """An async iterator over the events that follow its creation. It ends when the block is left.

    Two tasks that iterate over one stream share its events. Make a stream for each task if each
    must see all events. The stream belongs to the event loop of the AsyncLive: elsewhere,
    iterating raises NotActiveError.
    """

    def __init__(self, bound: int, check: Callable[[], None] = _check_nothing) -> None:
        self._bound = bound
        # Raises an error if this is not the event loop that publishes the events.
        self._check = check
        self._queue: OrderedDict[int, Event] = OrderedDict()
        """The queued events by their number, at most ``bound``."""
        self._samples: OrderedDict[object, int] = OrderedDict()
        """The number of the queued sample of each call and each push, oldest first."""
        self._next_number = 0
        self._dropped_samples = self._dropped_events = 0
        self._waiter: anyio.Event | None = None
        self._events_since_checkpoint = 0
        self._closed = False

    def _put(self, event: ArtifactEvent) -> None:
        if self._closed:
            return
        subject = _sampled(event)
        number = None if subject is None else self._samples.get(subject)
        if number is not None:
            self._queue[number] = event  # a newer sample replaces the older one
            return
        if len(self._queue) >= self._bound and not self._drop_one(event):
            return
        self._next_number += 1
        self._queue[self._next_number] = event
        if subject is not None:
            self._samples[subject] = self._next_number
        self._wake()

    def _drop_one(self, event: ArtifactEvent) -> bool:
        """Drop the least important event, and return False if that is ``event`` itself.

        1. If a sample is queued, drop the oldest.
        2. If ``event`` is a sample, drop it.
        3. Otherwise drop the oldest event.
        """
        if self._samples:
            _, number = self._samples.popitem(last=False)
            del self._queue[number]
            self._dropped_samples += 1
        elif _sampled(event) is not None:
            self._dropped_samples += 1
            return False
        else:
            self._queue.popitem(last=False)
            self._dropped_events += 1
        return True

    def _pop(self) -> Event:
        """Remove and return the next event; if events were dropped, EventsDropped comes first."""
        if self._dropped_samples or self._dropped_events:
            dropped = EventsDropped(time.time(), self._dropped_samples, self._dropped_events)
            self._dropped_samples = self._dropped_events = 0
            return dropped
        number, event = self._queue.popitem(last=False)
        subject = _sampled(event)
        if subject is not None and self._samples.get(subject) == number:
            del self._samples[subject]
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._closed:
            self._check()
        # A checkpoint for each event would cost as much as the event itself.
        self._events_since_checkpoint = (self._events_since_checkpoint + 1) % _EVENTS_PER_CHECKPOINT
        if not self._events_since_checkpoint:
            await anyio.lowlevel.checkpoint()
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is None:
                self._waiter = anyio.Event()
            self._events_since_checkpoint = 0
            await self._waiter.wait()
        return self._pop()

    async def aclose(self) -> None:
        """End the stream now and drop its queued events. Dropping the stream does the same."""
        self._queue.clear()
        self._samples.clear()
        self._dropped_samples = self._dropped_events = 0
        self._end()

    def _end(self) -> None:
        """Accept no more events. Queued events are still yielded."""
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
    """Delivers each event to all callbacks and streams.

    Args:
        on_event: the user's callback.

    Raises:
        TypeError: ``on_event`` is not callable, or is a coroutine function.
    """

    def __init__(self, on_event: OnEvent | None = None) -> None:
        if on_event is not None:
            _check_callback(on_event)
        self._callbacks: list[OnEvent] = [] if on_event is None else [on_event]
        self._failed_callbacks: set[int] = set()
        """The ids of callbacks that raised an error: a callback need not be hashable."""
        # Weak: a consumer that stops iterating drops its stream, and with it the queue.
        self._streams: list[weakref.ref[EventStream]] = []
        self._closed = False

    @property
    def has_consumers(self) -> bool:
        """Return whether there is a callback or a stream. If not, events need not be made."""
        return bool(self._callbacks or self._streams)

    def listen(self, callback: OnEvent) -> None:
        """Add a callback."""
        self._callbacks.append(callback)

    def stream(self, bound: int, check: Callable[[], None] = _check_nothing) -> EventStream:
        """Return a new stream that queues at most ``bound`` events.

        Args:
            bound: maximum number of queued events.
            check: raises an error if the running event loop does not publish the events.
        """
        stream = EventStream(bound, check)
        if self._closed:
            stream._end()
        else:
            self._streams.append(weakref.ref(stream))
        return stream

    def publish(self, event: ArtifactEvent) -> None:
        """Deliver ``event`` to the streams first, then to the callbacks.

        A callback may cause the next event. With this order, streams get both in order.
        """
        if self._streams:
            self._put(event)
        for callback in self._callbacks:
            try:
                callback(event)
            except BaseException as error:  # even CancelledError, which a cancelled future raises
                # In the main thread these may come from a signal handler. In any other thread they
                # would only end the event loop there, with all pending artifacts.
                ends_program = isinstance(error, (KeyboardInterrupt, SystemExit))
                if ends_program and threading.current_thread() is threading.main_thread():
                    raise
                # An error of a callback must not affect the artifact. Later events are still
                # passed to the callback, because only this event may have made it fail.
                self._log_failure(callback, event)

    def _put(self, event: ArtifactEvent) -> None:
        any_ended = False
        for reference in self._streams:
            stream = reference()
            if stream is None or stream._ended:
                any_ended = True
            else:
                stream._put(event)
        if any_ended:
            self._streams = [
                reference
                for reference in self._streams
                if (stream := reference()) is not None and not stream._ended
            ]

    def _log_failure(self, callback: OnEvent, event: ArtifactEvent) -> None:
        if id(callback) in self._failed_callbacks:
            logger.debug("The on_event callback failed again, on %r.", event, exc_info=True)
            return
        self._failed_callbacks.add(id(callback))
        logger.exception(
            "The on_event callback failed, on %r. The artifact is not affected. The callback still "
            "gets later events; its further errors are logged at debug level.",
            event,
        )

    def close(self) -> None:
        """End all streams: no more events follow."""
        self._closed = True
        for reference in self._streams:
            if (stream := reference()) is not None:
                stream._end()
        self._streams.clear()


def _check_callback(on_event: OnEvent) -> None:
    if not callable(on_event):
        raise TypeError(f"on_event must be callable, not {on_event!r}")
    if inspect.iscoroutinefunction(on_event) or inspect.iscoroutinefunction(
        getattr(on_event, "__call__", None)  # noqa: B004  # the method may be a coroutine function
    ):
        raise TypeError(
            f"on_event must be a plain function, not the coroutine function {on_event!r}, which "
            "would not be awaited. Iterate over events() in a task instead."
        )
