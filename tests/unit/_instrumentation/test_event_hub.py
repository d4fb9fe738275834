"""Events: the records, the queues of the streams, callbacks that raise errors."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import pickle
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import asynclive
from asynclive import (
    ArtifactCancelled,
    ArtifactCommitted,
    ArtifactCommitting,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactLogged,
    ArtifactNotFoundError,
    ArtifactQueued,
    ArtifactStaged,
    ArtifactStaging,
    ArtifactSuperseded,
    Event,
    EventsDropped,
    LoggedArtifact,
)
from asynclive._instrumentation.event_hub import EventHub, EventStream

pytestmark = pytest.mark.anyio

HEAD = (1700000000.5, 3, "model", Path("/repo/model.pt"))
LOGGED = LoggedArtifact(
    "model", HEAD[3], "model", None, ["a"], {"k": 1}, "0" * 32, 7, 1, Path("/repo/model.pt.dvc")
)
EVENTS: list[Event] = [
    ArtifactQueued(*HEAD),
    ArtifactStaging(*HEAD, 1, 2, 3, 4),
    ArtifactStaged(*HEAD, 7, 1),
    ArtifactCommitting(*HEAD),
    ArtifactCommitted(*HEAD, "0" * 32),
    ArtifactLogged(*HEAD, LOGGED),
    ArtifactFailed(*HEAD, ArtifactNotFoundError("model.pt")),
    ArtifactSuperseded(*HEAD),
    ArtifactCancelled(*HEAD),
    EventsDropped(HEAD[0], 1, 2),
]


def queued(call: int) -> ArtifactQueued:
    return ArtifactQueued(0.0, call, f"a{call}", Path(f"/repo/a{call}"))


def sample(call: int, done: int = 0) -> ArtifactStaging:
    return ArtifactStaging(0.0, call, f"a{call}", Path(f"/repo/a{call}"), done, 0, 100, 1)


async def all_of(stream: EventStream) -> list[Any]:
    """Return the remaining events of an ended stream; an EventsDropped without its time."""
    return [
        (event.samples, event.events) if isinstance(event, EventsDropped) else event
        async for event in stream
    ]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_frozen_and_slotted_and_survives_pickling(event: Event) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.time = 0  # type: ignore[misc]
    assert not hasattr(event, "__dict__")
    again = pickle.loads(pickle.dumps(event))
    if isinstance(event, ArtifactFailed):
        assert type(again.error) is type(event.error)
        assert str(again.error) == str(event.error)
        again = dataclasses.replace(again, error=event.error)
    assert again == event


def test_each_event_of_an_artifact_has_its_own_stage() -> None:
    stages = [event.stage for event in EVENTS if isinstance(event, ArtifactEvent)]
    assert len(stages) == len(set(stages)) == len(EVENTS) - 1
    assert all(type(event).__name__ in asynclive.__all__ for event in EVENTS)


async def test_every_stream_yields_all_events_since_its_creation_in_order() -> None:
    hub = EventHub()
    assert not hub.has_consumers
    first = hub.stream(10)
    hub.publish(queued(1))
    second = hub.stream(10)
    hub.publish(queued(2))
    assert hub.has_consumers
    hub.close()
    assert await all_of(first) == [queued(1), queued(2)]
    assert await all_of(second) == [queued(2)]
    assert await all_of(hub.stream(10)) == []


async def test_a_waiting_consumer_gets_the_next_event_and_ends_with_the_hub() -> None:
    hub = EventHub()
    got: list[Event] = []

    async def consume(stream: EventStream) -> None:
        async for event in stream:
            got.append(event)

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(consume, hub.stream(10))
        await anyio.wait_all_tasks_blocked()
        hub.publish(queued(1))
        await anyio.wait_all_tasks_blocked()
        assert got == [queued(1)]
        hub.close()


async def test_two_tasks_can_share_a_stream() -> None:
    hub = EventHub()
    stream = hub.stream(10)
    got: list[Event] = []

    async def consume() -> None:
        async for event in stream:
            got.append(event)

    async with anyio.create_task_group() as task_group:
        for _ in range(2):
            task_group.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        for call in range(4):
            hub.publish(queued(call))
        await anyio.wait_all_tasks_blocked()
        assert sorted(event.call for event in got) == [0, 1, 2, 3]  # type: ignore[attr-defined]
        hub.close()


async def test_a_sample_replaces_the_previous_sample_that_was_not_read() -> None:
    hub = EventHub()
    stream = hub.stream(3)
    hub.publish(sample(1, 10))
    hub.publish(queued(2))
    for done in range(20, 60, 10):
        hub.publish(sample(1, done))
    assert await anext(stream) == sample(1, 50)
    hub.publish(sample(1, 60))
    hub.close()
    assert await all_of(stream) == [queued(2), sample(1, 60)]


async def test_a_slow_consumer_loses_samples_first_and_learns_how_many() -> None:
    hub = EventHub()
    stream = hub.stream(3)
    for event in (queued(1), sample(1), sample(2), queued(2), queued(3)):
        hub.publish(event)
    hub.close()
    assert await all_of(stream) == [(2, 0), queued(1), queued(2), queued(3)]


async def test_without_queued_samples_a_slow_consumer_loses_the_oldest_events_and_new_samples() -> (
    None
):
    hub = EventHub()
    stream = hub.stream(2)
    for event in (queued(1), queued(2), sample(1), queued(3)):
        hub.publish(event)
    assert await anext(stream) == EventsDropped(pytest.approx(0, abs=1e12), 1, 1)  # type: ignore[arg-type]
    hub.publish(queued(4))
    hub.close()
    assert await all_of(stream) == [(0, 1), queued(3), queued(4)]


async def test_the_queue_of_a_stream_that_is_never_read_is_bounded() -> None:
    hub = EventHub()
    stream = hub.stream(50)
    for call in range(1000):
        hub.publish(sample(call))
        hub.publish(queued(call))
    assert len(stream._queue) == 50
    assert len(stream._samples) <= 50
    hub.close()
    (samples, events), *rest = await all_of(stream)
    assert samples + events + len(rest) == 2000
    assert rest == [queued(call) for call in range(950, 1000)]


async def test_the_hub_has_no_listener_after_the_streams_are_dropped_or_closed() -> None:
    hub = EventHub()
    dropped, closed = hub.stream(10), hub.stream(10)
    hub.publish(queued(1))
    del dropped
    gc.collect()
    await closed.aclose()
    assert await all_of(closed) == []
    hub.publish(queued(2))
    assert not hub.has_consumers


async def test_a_consumer_that_is_cancelled_while_it_waits_loses_no_event() -> None:
    hub = EventHub()
    stream = hub.stream(10)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(anext, stream)
        await anyio.wait_all_tasks_blocked()
        task_group.cancel_scope.cancel()
    hub.publish(queued(1))
    hub.close()
    assert await all_of(stream) == [queued(1)]


async def test_a_consumer_whose_queue_is_never_empty_yields_to_the_event_loop() -> None:
    hub = EventHub()
    stream = hub.stream(10)
    hub.publish(queued(0))
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await anyio.lowlevel.checkpoint()
            others += 1

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(other)
        for call in range(1, 200):
            assert await anext(stream) == queued(call - 1)
            hub.publish(queued(call))
        task_group.cancel_scope.cancel()
    assert others > 3


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def __call__(self, event: ArtifactEvent) -> None:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()], ids=repr)
async def test_an_error_of_a_callback_is_logged_once_and_the_callback_is_called_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    callback = _Unhashable(error)
    hub = EventHub(callback)
    other: list[Event] = []
    hub.listen(other.append)
    with caplog.at_level(logging.INFO):
        for call in range(3):
            hub.publish(queued(call))
    assert callback.calls == len(other) == 3
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "callback" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_callback_can_end_the_program(error: type[BaseException]) -> None:
    with pytest.raises(error):
        EventHub(_Unhashable(error())).publish(queued(1))


async def test_an_event_that_a_callback_causes_follows_in_every_queue() -> None:
    def callback(event: ArtifactEvent) -> None:
        if event.call == 1:
            hub.publish(queued(2))

    hub = EventHub(callback)
    stream = hub.stream(10)
    hub.publish(queued(1))
    hub.close()
    assert await all_of(stream) == [queued(1), queued(2)]
