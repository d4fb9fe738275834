"""Session: its states, with an engine that does no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import anyio
import anyio.abc
import pytest
from cancelling import in_task, settled
from layouts import request_of

from asynclive._calls.call import Call, CallOptions
from asynclive._dvclive.experiment import SessionExperiment
from asynclive._engine.interface import Engine, Listener
from asynclive._engine.session import Session
from asynclive._engine.settings import Settings
from asynclive._errors import NotActiveError, RepositoryError
from asynclive._instrumentation.event_hub import EventHub
from asynclive._instrumentation.statistics import Counters

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

pytestmark = pytest.mark.anyio


class IdleEngine:
    """Accepts calls, and works on none. ``fail_call`` ends one of them."""

    real_root = "/root"
    busy_workers = 0

    def __init__(self, listener: Listener, before_start: Callable[[], None]) -> None:
        self.log: list[str] = []
        self.failed = anyio.Event()
        self._listener = listener
        self._before_start = before_start

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._before_start()
        task_status.started()
        try:
            await self.failed.wait()
            raise RuntimeError("the engine failed")
        finally:
            self.log.append("closed")

    def accept(self, call: Call) -> None:
        call.bind_work(lambda: self.fail_call(call))

    def fail_call(self, call: Call) -> None:
        call.fail(ValueError("failed"))
        call.advance("failed")
        self._listener.on_ended(call)
        call.finish()

    def start_events(self) -> None:
        self.log.append("start_events")

    def stop_accepting(self) -> None:
        self.log.append("stop_accepting")

    def begin_leaving(self, *, hurry: bool) -> None:
        self.log.append("begin_leaving in a hurry" if hurry else "begin_leaving")

    def leave_normally(self) -> None:
        self.log.append("leave_normally")


def do_nothing() -> None:
    pass


def make_session(before_start: Callable[[], None] = do_nothing) -> Session:
    def make_engine(
        settings: Settings, counters: Counters, listener: Listener, experiment: SessionExperiment
    ) -> Engine:
        return IdleEngine(listener, before_start)

    settings = Settings(root="/root", artifacts_dir="/root/artifacts", dvcyaml=None)
    return Session(settings, SessionExperiment(), make_engine, EventHub())


def log_of(session: Session) -> list[str]:
    assert isinstance(session.engine, IdleEngine)
    return session.engine.log


def refusal(session: Session) -> str:
    """Return how the session refuses a call."""
    with pytest.raises(NotActiveError) as caught:
        session.check_active("submit()")
    return str(caught.value)


OUTSIDE = "submit() works inside 'async with AsyncLive() as live:'; this object "


def test_a_new_session_refuses_calls() -> None:
    assert refusal(make_session()) == OUTSIDE + "has not been entered."


async def test_a_session_that_is_being_entered_refuses_calls() -> None:
    refusals: list[str] = []
    session = make_session(lambda: refusals.append(refusal(session)))
    async with session:
        session.check_active("submit()")
    assert refusals == [OUTSIDE + "is being entered."]


async def test_a_drained_session_refuses_calls_and_may_be_drained_again() -> None:
    async with make_session() as session:
        for _ in range(2):
            result = await session.drain(0)
            assert (result.logged, result.not_logged) == ((), ())
            assert refusal(session) == OUTSIDE + "is being drained, or was."


async def test_a_session_that_was_left_refuses_calls_and_drain() -> None:
    async with make_session() as session:
        pass
    assert refusal(session) == OUTSIDE + "has been left."
    with pytest.raises(NotActiveError, match="has been left"):
        await session.drain(None)


async def test_a_session_can_be_entered_once() -> None:
    session = make_session()
    async with session:
        with pytest.raises(NotActiveError, match="can be entered once"):
            await session.__aenter__()
        session.check_active("submit()")
    with pytest.raises(NotActiveError, match="can be entered once"):
        await session.__aenter__()


async def test_a_session_that_could_not_be_entered_counts_as_left() -> None:
    cause = OSError()

    def refuse() -> None:
        raise RepositoryError("/root", "cannot be opened.") from cause

    session = make_session(refuse)
    with pytest.raises(RepositoryError) as caught:
        await session.__aenter__()
    assert caught.value.__cause__ is cause
    assert refusal(session) == OUTSIDE + "has been left."


async def test_a_forked_child_is_told_to_make_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_session() as session:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            with pytest.raises(NotActiveError, match="this one was forked from"):
                session.check_active("submit()")
        session.check_active("submit()")


async def test_leaving_waits_for_the_calls_in_flight_and_then_closes_the_engine() -> None:
    session, calls = make_session(), []
    accepted = anyio.Event()

    async def use_session() -> None:
        async with session:
            calls.append(session.accept(request_of("/root/a"), CallOptions()))
            accepted.set()

    async with in_task("scope", use_session) as block:
        await accepted.wait()
        await settled()
        assert not block.ended
        assert session.statistics().waiting == 1
        assert log_of(session) == ["stop_accepting", "begin_leaving"]
        calls[0].cancel_work()
    assert block.error is None
    assert log_of(session) == [*("stop_accepting", "begin_leaving", "leave_normally", "closed")]


async def test_an_exception_in_the_block_waits_for_no_call() -> None:
    session = make_session()

    async def fail_in_block() -> None:
        async with session:
            session.accept(request_of("/root/a"), CallOptions())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_in_block()
    assert log_of(session) == ["stop_accepting", "begin_leaving", "closed"]


SUCCESSES: dict[str, Callable[[], BaseException]] = {
    "exit()": SystemExit,
    "exit(0)": lambda: SystemExit(0),
    "group of exit(0)": lambda: BaseExceptionGroup("", [SystemExit(0), SystemExit()]),
    "GeneratorExit": GeneratorExit,
}
FAILURES: dict[str, Callable[[], BaseException]] = {
    "exit(1)": lambda: SystemExit(1),
    "exit('')": lambda: SystemExit(""),  # its exit code is 1
    "KeyboardInterrupt": KeyboardInterrupt,
    "group": lambda: BaseExceptionGroup("", [SystemExit(0), KeyError()]),
}


@pytest.mark.parametrize("make", SUCCESSES.values(), ids=SUCCESSES)
async def test_a_block_that_ends_by_success_is_left_normally(
    make: Callable[[], BaseException],
) -> None:
    session = await make_session().__aenter__()
    error = make()
    await session.__aexit__(type(error), error, None)
    assert "leave_normally" in log_of(session)


@pytest.mark.parametrize("make", FAILURES.values(), ids=FAILURES)
async def test_a_block_that_ends_by_failure_is_not_left_normally(
    make: Callable[[], BaseException],
) -> None:
    session = await make_session().__aenter__()
    error = make()
    await session.__aexit__(type(error), error, None)
    assert "leave_normally" not in log_of(session)


async def test_leaving_raises_the_error_of_an_engine_that_failed_in_the_block() -> None:
    session = make_session()
    await session.__aenter__()
    assert isinstance(session.engine, IdleEngine)
    session.engine.failed.set()
    await settled()
    assert "has ended before its block" in refusal(session)
    with pytest.raises(RuntimeError, match="the engine failed"):
        await session.__aexit__(None, None, None)


async def test_leaving_raises_the_errors_that_no_task_awaited() -> None:
    async def fail_two_calls() -> None:
        async with make_session() as session:
            for name in "ab":
                call = session.accept(request_of(f"/root/{name}"), CallOptions(submitted=True))
                call.cancel_work()

    with pytest.raises(Exception, match="no task awaited them") as caught:
        await fail_two_calls()
    errors: list[Exception] = caught.value.exceptions  # type: ignore[attr-defined]  # 3.11
    assert [str(error) for error in errors] == ["failed", "failed"]


async def test_an_engine_starts_events_for_consumers_before_and_after_entering() -> None:
    early, late = make_session(), make_session()
    early.listen(lambda event: None)
    async with early, late:
        assert log_of(early) == ["start_events"]
        assert log_of(late) == []
        late.stream(10)
        assert log_of(late) == ["start_events"]
