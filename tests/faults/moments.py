"""Hold a call at a numbered moment of its work.

A moment is just before a system call that asynclive makes in a worker thread, or just before or
after a task of the event loop runs a function in such a thread. The test holds the call there and
cancels it. So the test chooses the place, not the scheduler.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
import pytest
from cancelling import Call, in_task, settled
from gate import Gate

import asynclive._cache.hash_cache
import asynclive._fs.atomic_rename
import asynclive._ingest.copy_and_hash
import asynclive._stage.stage_job
import asynclive._stage.stager
from asynclive import AsyncLive
from asynclive._engine.session import Session

# Without os.utime: asynclive asks os.supports_fd for that function object itself.
_SYSTEM_CALLS = re.findall(
    r"\w+",
    "access chmod copy_file_range fchmod fstat fsync link listdir lstat mkdir open pread preadv "
    "read readlink rename replace rmdir scandir sendfile stat symlink unlink write",
)


Moment = tuple[str, int]
"""A stage, and the number of the moment in that stage, from one."""


class MomentGate(Gate):
    """Hold the thread or task that reaches this moment."""

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self.moment = moment
        self.what = ""
        """The action that the gate holds up; empty: no call has reached the gate."""


class Cancelling:
    """Cancels calls of one ``AsyncLive`` at chosen moments."""

    def __init__(self) -> None:
        self.cancelled: Counter[str] = Counter()
        """The number of moments of each stage at which a call was cancelled."""

    async def cancel_at(
        self, moment: Moment, way: str, log: Callable[[], Awaitable[Any]]
    ) -> tuple[Call, str]:
        """Cancel a call at this moment; open the gate after all tasks have seen the cancellation.

        Returns:
            The call, which has ended; and the action that the gate held up. The action is empty
            if the call ended before the moment.
        """
        gate = self.arm(moment)

        async def log_then_arrive() -> Any:
            try:
                return await log()
            finally:
                gate.reached.set()

        async with in_task(way, log_then_arrive) as call:
            try:
                await gate.reached.wait()
                if gate.what:
                    self.note_calls()
                    call.cancel()
                    await settled()
                    self.cancelled[moment[0]] += 1
            finally:
                self.disarm()
                gate.open()
        return call, gate.what

    def arm(self, moment: Moment) -> Any:
        """Return a gate at this moment; moments are counted again from zero."""
        raise NotImplementedError

    def disarm(self) -> None:
        """Let no call reach the gate any more."""

    def note_calls(self) -> None:
        """Count system calls from now on."""

    def noted_calls(self) -> Counter[str]:
        """Return the number of system calls since the last cancellation, by name."""
        raise NotImplementedError


class Moments(Cancelling):
    """Counts the moments of all calls of one ``AsyncLive``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.live: AsyncLive | Session | None = None
        """The object whose moments are counted; set after its block is entered."""
        self.passed: Counter[str] = Counter()
        """The number of moments in each stage since a gate was armed."""
        self.running = 0
        """The number of worker threads that are working now."""
        self._calls: Counter[str] = Counter()
        self._calls_before: Counter[str] = Counter()
        self._gate: MomentGate | None = None
        self._lock = threading.Lock()  # guards all of the above
        self._loop_thread = threading.get_ident()
        for name in _SYSTEM_CALLS:
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        exchange = getattr(asynclive._fs.atomic_rename, "_renameat2", None)
        if exchange is not None:
            counted = self._counted("renameat2", exchange)
            monkeypatch.setattr(asynclive._fs.atomic_rename, "_renameat2", counted)
        self._run_sync = anyio.to_thread.run_sync
        monkeypatch.setattr(anyio.to_thread, "run_sync", self._counted_hop)

    def note_calls(self) -> None:
        self._calls_before = self._calls.copy()

    def noted_calls(self) -> Counter[str]:
        return self._calls - self._calls_before

    async def count(self, log: Callable[[], Awaitable[Any]]) -> Mapping[str, int]:
        """Return how many moments a call has in each stage if it is not cancelled."""
        self.passed = Counter()
        await log()
        return dict(self.passed)

    def arm(self, moment: Moment) -> MomentGate:
        self.passed = Counter()
        self._gate = MomentGate(moment)
        return self._gate

    def disarm(self) -> None:
        self._gate = None

    def _pass(self, what: str) -> MomentGate | None:
        """Count one more moment; return the gate if it is at this moment."""
        with self._lock:
            if self.live is None:
                return None
            stage = _stage(self.live)
            self.passed[stage] += 1
            gate = self._gate
            if gate is None or gate.moment != (stage, self.passed[stage]):
                return None
            gate.what = what
            return gate

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            caller = str(sys._getframe(1).f_globals.get("__name__"))
            ours = caller.startswith("asynclive.")
            if ours and threading.get_ident() != self._loop_thread:
                with self._lock:
                    self._calls[name] += 1
                gate = self._pass(f"{name} in {caller}")
                if gate is not None:
                    gate()
            return real(*args, **kwargs)

        return call

    async def _counted_hop(self, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        def at_work(*args: Any) -> Any:
            with self._lock:
                self.running += 1
            try:
                return func(*args)
            finally:
                with self._lock:
                    self.running -= 1

        await self._pass_in_loop("before a thread")
        try:
            return await self._run_sync(at_work, *args, **options)
        finally:
            await self._pass_in_loop("after a thread")

    async def _pass_in_loop(self, what: str) -> None:
        gate = self._pass(what)
        if gate is not None:
            await gate.hold_task()


def many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the size limits: artifacts of 100 kB take as many steps as others of 100 MB."""
    monkeypatch.setattr(asynclive._stage.stage_job, "SMALL_BYTES", 50_000)
    monkeypatch.setattr(asynclive._stage.stage_job, "BATCH_FILES", 4)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "STEP_BYTES", 64_000)
    for lead in ("LEAD_BYTES", "DISK_LEAD_BYTES"):
        monkeypatch.setattr(asynclive._ingest.copy_and_hash, lead, 128_000)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "CHUNK_BYTES", 32_000)
    monkeypatch.setattr(asynclive._stage.stage_job, "CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr(asynclive._stage.stager, "MIN_CACHED_BYTES", 1)


def spread(counted: Mapping[str, int], number: int) -> list[Moment]:
    """Choose this number of moments, with the same share of each stage as far as possible."""
    chosen: list[Moment] = []
    rest: list[Moment] = []
    for stage, count in counted.items():
        moments = [(stage, at) for at in range(1, count + 1)]
        share = _evenly(moments, number // len(counted))
        chosen += share
        rest += [moment for moment in moments if moment not in share]
    return chosen + _evenly(rest, number - len(chosen))


def _evenly(moments: list[Moment], number: int) -> list[Moment]:
    if number >= len(moments):
        return moments
    return [moments[(2 * index + 1) * len(moments) // (2 * number)] for index in range(number)]


def _stage(live: AsyncLive | Session) -> str:
    """Return the furthest stage that a call in flight has reached."""
    now = live.statistics()
    if now.committing:
        return "commit"
    if now.staged:
        return "lock"
    return "stage" if now.staging else "look"
