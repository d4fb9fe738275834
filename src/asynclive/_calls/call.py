"""One artifact in flight: how far it has come, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Literal

import anyio

from .._artifact.records import LoggedArtifact
from .._artifact.request import ArtifactRequest
from .._instrumentation.staging_progress import StagingProgress
from .._instrumentation.tracing import CallTrace

logger = getLogger(__name__)

Stage = Literal[
    "queued", "staging", "staged", "committing", "logged", "failed", "cancelled", "superseded"
]
"""How far an artifact has come; the last four are ends."""
ENDS = frozenset({"logged", "failed", "cancelled", "superseded"})


@dataclass(eq=False, slots=True)
class Call:
    """One call of submit or log_artifact. A task of AsyncLive's own works on it."""

    request: ArtifactRequest
    submitted: bool = False
    """Its caller goes on while it is in flight, and has declared an order."""
    latest_wins: bool = False
    move: bool = False
    """The caller has given the source up."""
    waits_for_room: bool = True
    """False: it is refused where there is none."""
    stage: Stage = "queued"
    earlier: Sequence[Call] = ()
    """Those that are committed before it."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    released: anyio.Event = field(default_factory=anyio.Event)
    """The source may be overwritten, or the call has ended."""
    done: anyio.Event = field(default_factory=anyio.Event)
    logged: LoggedArtifact | None = None
    error: Exception | None = None
    why_cancelled: Exception | None = None
    """What is raised to who awaits it, where we cancelled it ourselves."""
    has_room: anyio.Event = field(default_factory=anyio.Event)
    """Its bytes may be pending, or it has ended."""
    begun: bool = False
    """It is no longer pending: no later one takes its place."""
    successor: Call | None = None
    """The later call that is logged in its place."""
    told: bool = False
    """Somebody was told how it ended."""
    waiting: int = 0
    """How many wait to be told."""
    watch: Callable[[Call, Stage], None] | None = None
    """Told of each change of the stage, with the one before."""
    number: int = 0
    """In the order of the calls, from 1 on."""
    progress: StagingProgress = field(default_factory=StagingProgress)
    trace: CallTrace | None = None
    tracked_path: Path | None = None
    """As events have it; made when the first is."""

    def advance(self, stage: Stage) -> None:
        """The one place where the stage changes."""
        before, self.stage = self.stage, stage
        if self.watch is not None:
            self.watch(self, before)

    def cancel(self, why: Exception) -> None:
        """Stop the work, if it still can be."""
        if not self.done.is_set():
            self.why_cancelled = self.why_cancelled or why
            self.scope.cancel()

    def supersede(self, later: Call) -> None:
        """Leave it to a later call, if this one is still pending and both are of one artifact."""
        mine, its = self.request, later.request
        same = (mine.name, mine.entry is None, mine.cache) == (
            its.name,
            its.entry is None,
            its.cache,
        )
        if self.latest_wins and not self.begun and same and self.successor is None:
            self.successor = later
            self.scope.cancel()

    def begin(self) -> None:
        """It is this one's turn, if nothing is before it."""
        self.begun = self.begun or self.comes_first

    @property
    def comes_first(self) -> bool:
        """Whether all that come before it have ended."""
        return all(call.done.is_set() for call in self.earlier)

    async def turn(self) -> None:
        """Wait until all that come before it have ended, in whatever way."""
        for call in self.earlier:
            await call.done.wait()
        self.earlier = ()

    def end(self) -> None:
        """Tell everybody who waits; ``logged``, ``error`` or ``successor`` is set."""
        self.earlier = ()  # or a handle would keep them all
        self.has_room.set()
        self.released.set()
        self.done.set()

    @property
    def last(self) -> Call:
        """The call whose end is this one's too."""
        call = self
        while call.successor is not None:
            call = call.successor
        return call

    @property
    def awaited(self) -> bool:
        """Whether somebody knows how it ended, or is about to."""
        return self.told or self.waiting > 0

    async def result(self) -> LoggedArtifact:
        """Wait for the end. Cancellation: nothing happens to the artifact."""
        self.waiting += 1
        try:
            await self.done.wait()
            if self.successor is not None:
                return await self.last.result()
        finally:
            self.waiting -= 1
        return self.outcome()

    def outcome(self) -> LoggedArtifact:
        """What came of it, once it has ended; without waiting."""
        if self.successor is not None:
            return self.last.outcome()
        self.told = True
        if self.error is not None:
            raise self.error
        assert self.logged is not None
        return self.logged

    async def result_or_cancel(self) -> LoggedArtifact:
        """The same; who is cancelled here hands that on to the task that works."""
        await self._wait_or_cancel(self.done)
        return await self.result()

    async def release_or_cancel(self) -> None:
        """Wait until the source may be overwritten; raise what went wrong until then."""
        await self._wait_or_cancel(self.released)
        if self.error is not None:
            self.told = True
            raise self.error

    async def _wait_or_cancel(self, event: anyio.Event) -> None:
        self.waiting += 1
        try:
            await event.wait()
        except BaseException:
            self.told = True
            self.scope.cancel()
            with anyio.CancelScope(shield=True):
                await self.done.wait()
            if self.logged is not None:
                logger.info(
                    "'%s' was cancelled when its group was committing already: it is logged.",
                    self.request.given,
                )
            raise
        finally:
            self.waiting -= 1
