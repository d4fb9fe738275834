"""Hold a call at a numbered moment of its work in the worker process of ``isolation="process"``.

The worker counts the moments of a call and holds its threads and tasks, as ``Moments`` does it in
this process. The test arms the gate there, cancels its call here, and opens the gate once the
worker has handled the cancellation.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
from cancelling import settled
from moments import Cancelling, Moment, Moments
from worker_agent import Agent, Agents

from asynclive import AsyncLive
from asynclive._calls.call import Call as WorkerCall


class RemoteMoments(Cancelling):
    """Counts the moments of all calls of one ``AsyncLive`` in its worker process.

    Args:
        agents: puts the moments into the worker.
    """

    def __init__(self, agents: Agents) -> None:
        super().__init__()
        path, self._reached = agents.pipe("reached")
        os.set_blocking(self._reached, False)
        self._agent = agents.make("remote_moments:_WorkerMoments", path)
        self._live: AsyncLive | None = None

    @property
    def live(self) -> AsyncLive | None:
        """The object whose moments are counted; set after its block is entered."""
        return self._live

    @live.setter
    def live(self, live: AsyncLive | None) -> None:
        self._live = live
        if live is not None:
            self._agent.ask("begin")

    @property
    def running(self) -> int:
        """The number of worker threads that are working: none lives longer than the worker."""
        return 0

    def noted_calls(self) -> Counter[str]:
        calls: Counter[str] = self._agent.ask("noted_calls")
        return calls

    async def count(self, log: Callable[[], Awaitable[Any]]) -> Mapping[str, int]:
        """Return how many moments a call has in each stage if it is not cancelled."""
        self._agent.ask("take_passed")
        await log()
        passed: Mapping[str, int] = self._agent.ask("take_passed")
        return passed

    def arm(self, moment: Moment) -> _RemoteGate:
        gate = _RemoteGate(self._agent, self._reached)
        self._agent.ask("arm_for_test", moment)
        return gate


class _RemoteGate:
    """A gate in the worker. ``reached`` has two methods of an event: ``set`` and ``wait``."""

    def __init__(self, agent: Agent, pipe: int) -> None:
        self._agent = agent
        self._pipe = pipe
        self.reached = self
        self.what = ""
        """The action that the gate holds up; empty: no call has reached the gate."""
        try:  # drop the end of an earlier call
            os.read(pipe, 4096)
        except BlockingIOError:
            pass

    def set(self) -> None:
        """Say that the call has ended."""
        os.write(self._pipe, b"\n")

    async def wait(self) -> None:
        """Wait until a call has reached the gate, or has ended."""
        await anyio.wait_readable(self._pipe)
        self.what = os.read(self._pipe, 4096).decode().splitlines()[0]

    def open(self) -> None:
        """Open it once the tasks of the worker have handled the messages of this process."""
        self._agent.ask("open_gate")


class _WorkerMoments(Moments):
    """The moments in the worker."""

    session: Any = None  # the agent sets it

    def __init__(self, reached: str) -> None:
        super().__init__(pytest.MonkeyPatch())
        self._reached = os.open(reached, os.O_WRONLY)
        self._armed: tuple[Any, asyncio.Task[None]] | None = None
        cancel_work = WorkerCall.cancel_work

        def note_and_cancel(call: WorkerCall) -> None:
            # Only now: other threads have gone on until the message arrived here.
            self.note_calls()
            cancel_work(call)

        WorkerCall.cancel_work = note_and_cancel  # type: ignore[method-assign]

    def begin(self) -> None:
        self.live = self.session

    def take_passed(self) -> Mapping[str, int]:
        with self._lock:
            passed, self.passed = self.passed, Counter()
        return dict(passed)

    def arm_for_test(self, moment: Moment) -> None:
        gate = self.arm(moment)

        async def say_what() -> None:
            await gate.reached.wait()
            os.write(self._reached, f"{gate.what}\n".encode())

        self._armed = gate, asyncio.ensure_future(say_what())

    async def open_gate(self) -> None:
        assert self._armed is not None
        gate, saying = self._armed
        await settled()
        saying.cancel()
        self.disarm()
        gate.open()
