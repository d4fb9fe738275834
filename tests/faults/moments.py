"""Holds a call at one of the moments at which it does something, found by counting.

A moment is just before a system call that asynclive makes in a worker thread, or before or after
a hop to such a thread, where a task of the event loop goes on. Held there, the call can be
cancelled at a place of the test's choosing, not where the scheduler happens to be.
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
import sniffio
from cancelling import Call, in_task, settled

import asynclive._cache.hash_cache
import asynclive._fs.atomic_rename
import asynclive._ingest.copy_and_hash
import asynclive._stage.stage_job
import asynclive._stage.stager
from asynclive import AsyncLive

# Not os.utime: whether it takes a descriptor is asked of the function itself.
_SYSTEM_CALLS = re.findall(
    r"\w+",
    "access chmod copy_file_range fchmod fstat fsync link listdir lstat mkdir open pread preadv "
    "read readlink rename replace rmdir scandir sendfile stat symlink unlink write",
)


Moment = tuple[str, int]
"""A stage, and the number of the moment in it, from one."""


class Gate:
    """Closed until it is opened, once, for a thread or a task of the event loop."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.what = ""
        """What was about to be done; empty: nobody got here."""
        self.arrived = anyio.Event()
        self._opened = anyio.Event()
        self._opened_for_threads = threading.Event()
        self._soon = _run_soon()

    def open(self) -> None:
        self._opened.set()
        self._opened_for_threads.set()

    def hold_thread(self) -> None:
        self._soon(self.arrived.set)
        self._opened_for_threads.wait()

    async def hold_task(self) -> None:
        self.arrived.set()
        with anyio.CancelScope(shield=True):
            await self._opened.wait()


class Moments:
    """Counts the moments of all calls of one ``AsyncLive``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.live: AsyncLive | None = None
        """Whose moments are counted, once it was entered."""
        self.passed: Counter[str] = Counter()
        """How many there were in each stage since a gate was armed."""
        self.calls: Counter[str] = Counter()
        """How many system calls of each name there were."""
        self.calls_before_cancelling: Counter[str] = Counter()
        self.running = 0
        """How many worker threads are at work at this moment."""
        self.cancelled: Counter[str] = Counter()
        """At how many moments of each stage a call was cancelled."""
        self._gate: Gate | None = None
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

    async def count(self, log: Callable[[], Awaitable[Any]]) -> Mapping[str, int]:
        """How many moments a call has in each stage, if nobody cancels it."""
        self.passed = Counter()
        await log()
        return dict(self.passed)

    def arm(self, moment: Moment) -> Gate:
        """The gate of this moment, counted from now on, inside the block of ``live``."""
        self.passed = Counter()
        self._gate = Gate(moment)
        return self._gate

    async def cancel_at(
        self, moment: Moment, way: str, log: Callable[[], Awaitable[Any]]
    ) -> tuple[Call, str]:
        """Cancel a call at this moment; it goes on once all tasks have seen that.

        Returns:
            The call, which has ended; and what it was about to do, which is empty if it ended
            before the moment.
        """
        gate = self.arm(moment)

        async def noted() -> Any:
            try:
                return await log()
            finally:
                gate.arrived.set()

        async with in_task(way, noted) as call:
            try:
                await gate.arrived.wait()
                if gate.what:
                    self.calls_before_cancelling = self.calls.copy()
                    call.cancel()
                    await settled()
                    self.cancelled[moment[0]] += 1
            finally:
                self._gate = None
                gate.open()
        return call, gate.what

    def _pass(self, what: str) -> Gate | None:
        """One more moment; the gate, if it is held at this one."""
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
                    self.calls[name] += 1
                gate = self._pass(f"{name} in {caller}")
                if gate is not None:
                    gate.hold_thread()
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
    """Artifacts of some 100 kB take as many steps as others of some 100 MB."""
    monkeypatch.setattr(asynclive._stage.stage_job, "SMALL_BYTES", 50_000)
    monkeypatch.setattr(asynclive._stage.stage_job, "BATCH_FILES", 4)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "STEP_BYTES", 64_000)
    for lead in ("LEAD_BYTES", "DISK_LEAD_BYTES"):
        monkeypatch.setattr(asynclive._ingest.copy_and_hash, lead, 128_000)
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "CHUNK_BYTES", 32_000)
    monkeypatch.setattr(asynclive._stage.stage_job, "CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr(asynclive._stage.stager, "MIN_CACHED_BYTES", 1)


def spread(counted: Mapping[str, int], number: int) -> list[Moment]:
    """So many moments out of these: the same share of each stage, as far as it has as many."""
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


def _stage(live: AsyncLive) -> str:
    """The furthest stage that a call in flight is in."""
    now = live.statistics()
    if now.committing:
        return "commit"
    if now.staged:
        return "lock"
    return "stage" if now.staging else "look"


def _run_soon() -> Callable[[Callable[[], object]], object]:
    """What has the event loop call a function, from any thread."""
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio

    return asyncio.get_running_loop().call_soon_threadsafe
