"""ProcessEngine: the pushes in flight, as the messages of a worker change them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from layouts import request_of

from asynclive._artifact.push_records import PushRequest, PushResult
from asynclive._calls.call import Call
from asynclive._calls.push import Push
from asynclive._dvclive.experiment import SessionExperiment
from asynclive._engine.interface import Listener
from asynclive._engine.settings import Settings
from asynclive._errors import FailedObject, PushError, RemoteAccessError, WorkerDiedError
from asynclive._instrumentation.statistics import Counters
from asynclive._isolation.messages import (
    Cancel,
    CancelPush,
    Done,
    LogArtifact,
    LogLevel,
    PushAdopted,
    PushBegan,
    PushEnded,
    PushSampled,
    StartPush,
)
from asynclive._isolation.portable_errors import errors_to_send
from asynclive._isolation.process_engine import ProcessEngine

pytestmark = pytest.mark.anyio

RESULT = PushResult("far", 1, 5, 0, 0, "etag", "obstore", 0.5)
REFUSED = RemoteAccessError(
    "far", "it refuses.", option="region", failed=[FailedObject("aa", "a", "403")]
)


class Parent:
    """An engine without a worker: the test takes its messages, and answers."""

    def __init__(self) -> None:
        settings = Settings(root="/root", artifacts_dir="/root/artifacts", dvcyaml=None)
        self.adopted: list[Push] = []
        listener = Listener(lambda *_: None, lambda _: None, self._adopt)
        self.engine = ProcessEngine(settings, Counters(), listener, SessionExperiment())

    def _adopt(self, path: str, remote: str) -> Push:
        self.adopted.append(Push(PushRequest(remote=remote), 1, "adopted", path))
        return self.adopted[-1]

    def accept(self) -> Call:
        call = Call(request_of("/root/a"))
        call.push = Push(PushRequest(), 1, "a", "/root/a")
        self.engine.accept(call)
        return call

    def accept_push(self) -> Push:
        push = Push(PushRequest(remote="far"), 2, "all")
        self.engine.accept_push(push)
        return push

    def hear(self, *messages: Any) -> None:
        for message in messages:
            self.engine.on_message(pickle.loads(pickle.dumps(message)))

    def sent(self) -> list[Any]:
        """Return the messages to the worker, without those about the log level."""
        queued = self.engine._lifecycle.channel._outgoing
        messages = [pickle.loads(data[8:]) for data in queued]
        queued.clear()
        return [message for message in messages if not isinstance(message, LogLevel)]

    def lose_worker(self) -> list[Call]:
        calls = self.engine.take_calls()
        self.engine.fail_pushes(WorkerDiedError(None, "was killed", -9, "Another one starts."))
        return calls


@pytest.fixture
async def parent() -> Parent:
    return Parent()


async def test_the_push_of_a_call_follows_the_messages_of_the_worker(parent: Parent) -> None:
    call = parent.accept()
    (logged,) = parent.sent()
    assert isinstance(logged, LogArtifact)
    assert call.push is not None
    parent.hear(Done(logged.call, "failed", None, errors_to_send(ValueError("no")), None))
    assert (call.push.stage, parent.engine.has_calls) == ("waiting", False)

    call = parent.accept()
    (logged,) = parent.sent()
    assert call.push is not None
    parent.hear(PushBegan(logged.call), PushSampled(logged.call, done=(1, 20), totals=(3, 40)))
    counts = call.push.progress
    assert (counts.done, counts.objects_total, counts.bytes_total) == ((20, 1), 3, 40)
    parent.hear(PushEnded(logged.call, "pushed", RESULT, []))
    assert await call.push.result() == RESULT


async def test_an_explicit_push_is_handed_over_and_its_error_arrives_whole(parent: Parent) -> None:
    push = parent.accept_push()
    assert parent.engine.has_calls
    (started,) = parent.sent()
    assert (started.request, started.name) == (push.request, push.name)
    parent.hear(PushBegan(started.push))
    parent.hear(PushEnded(started.push, "failed", None, errors_to_send(REFUSED)))
    with pytest.raises(RemoteAccessError) as caught:
        await push.result()
    assert vars(caught.value) == vars(REFUSED)
    assert not parent.engine.has_calls


async def test_a_push_is_cancelled_in_the_worker(parent: Parent) -> None:
    push = parent.accept_push()
    push.cancel(PushError("far", "the time is over."))
    (started, cancelled) = parent.sent()
    assert isinstance(started, StartPush)
    assert cancelled == CancelPush(started.push)
    assert not isinstance(cancelled, Cancel)
    parent.hear(PushEnded(started.push, "cancelled", None, errors_to_send(REFUSED)))
    with pytest.raises(PushError, match="the time is over"):
        await push.result()
    assert push.stage == "cancelled"


async def test_a_push_that_the_worker_adopts_is_followed_too(parent: Parent) -> None:
    parent.hear(
        PushAdopted(-1, "/root/old", "far"), PushBegan(-1), PushEnded(-1, "pushed", RESULT, [])
    )
    (push,) = parent.adopted
    assert (push.path, push.request.remote) == ("/root/old", "far")
    assert await push.result() == RESULT


async def test_pushes_of_a_killed_worker_fail_unless_their_calls_do(parent: Parent) -> None:
    waiting, logged = parent.accept(), parent.accept()
    explicit = parent.accept_push()
    parent.hear(Done(parent.sent()[1].call, "cancelled", None, [REFUSED], None))
    other = parent.accept()
    (sent,) = parent.sent()
    parent.hear(PushBegan(sent.call))
    assert parent.lose_worker() == [waiting, other]
    for push in (explicit, other.push):
        assert push is not None
        with pytest.raises(PushError, match=r"killed.*stay committed.*'asynclive push'") as caught:
            await push.result()
        assert isinstance(caught.value.__cause__, WorkerDiedError)
    for call in (waiting, logged):
        assert call.push is not None
        assert call.push.stage == "waiting"
    assert not parent.engine.has_calls
