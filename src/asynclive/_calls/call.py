"""Call: one artifact in flight. It knows its stage, its outcome, and the calls before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Literal

import anyio

from .._artifact.records import LoggedArtifact
from .._artifact.request import ArtifactRequest
from .._instrumentation.staging_progress import StagingProgress
from .push import Push

logger = getLogger(__name__)

Stage = Literal[
    "queued", "staging", "staged", "committing", "logged", "failed", "cancelled", "superseded"
]
"""The stages of an artifact. The last four are ends."""
ENDS: frozenset[Stage] = frozenset({"logged", "failed", "cancelled", "superseded"})

_NOT_LOGGED: frozenset[Stage] = ENDS - {"logged"}
_NEXT_STAGES: dict[Stage, frozenset[Stage]] = {
    "queued": _NOT_LOGGED | {"staging"},
    "staging": _NOT_LOGGED | {"staged"},
    "staged": _NOT_LOGGED | {"committing"},
    "committing": ENDS,
}
"""The stages that may follow each stage; nothing follows an end."""

OnStageChange = Callable[["Call", Stage], None]
"""Called with the call, whose stage is the new one, and with the stage before."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The choices of the caller. They pickle, for a worker process."""

    submitted: bool = False
    """The caller goes on while the call is in flight, and so has declared an order."""
    latest_wins: bool = False
    """A later call for the same path and name may supersede this one."""
    move: bool = False
    """The caller has given the source up: it is moved, not copied."""
    waits: bool = True
    """False: the call is refused if it would have to wait for a slot or for bytes."""


_LOG_ARTIFACT = CallOptions()


class Call:
    """One call of ``submit`` or ``log_artifact``. A task of the session works on it.

    Args:
        request: the checked arguments.
        options: the choices of the caller.
        number: the place of the call among all accepted calls of the session, from 1 on.
    """

    __slots__ = (
        "_begun",
        "_cancel_requested",
        "_cancel_work",
        "_cancellation",
        "_delivered",
        "_done",
        "_earlier",
        "_end_stage",
        "_error",
        "_has_room",
        "_listeners",
        "_logged",
        "_released",
        "_reported",
        "_stage",
        "_successor",
        "_waiters",
        "number",
        "options",
        "progress",
        "push",
        "request",
    )

    def __init__(
        self, request: ArtifactRequest, options: CallOptions = _LOG_ARTIFACT, number: int = 0
    ) -> None:
        self.request: ArtifactRequest = request
        self.options: CallOptions = options
        self.number: int = number
        self.progress: StagingProgress = StagingProgress()
        self.push: Push | None = None
        """The push of this artifact. None: it is not pushed. The engine works on it once the call
        is logged, or before its commit, as the policy says. If the call is not logged, the push
        stays in ``"waiting"``, and no task waits for it."""
        self._stage: Stage = "queued"
        self._listeners: list[OnStageChange] = []
        # The calls that are committed before this one.
        self._earlier: Sequence[Call] = ()
        self._begun = False
        self._has_room = anyio.Event()
        self._released = anyio.Event()
        self._done = anyio.Event()
        self._end_stage: Stage | None = None
        self._logged: LoggedArtifact | None = None
        self._error: Exception | None = None
        # The later call that is logged in the place of this one.
        self._successor: Call | None = None
        self._cancel_work: Callable[[], None] | None = None
        self._cancel_requested = False
        # Why the session or a handle cancelled the work. None: the caller's own cancellation.
        self._cancellation: Exception | None = None
        self._delivered = False
        self._reported = False
        self._waiters = 0

    @property
    def submitted(self) -> bool:
        return self.options.submitted

    @property
    def latest_wins(self) -> bool:
        return self.options.latest_wins

    # Stage

    @property
    def stage(self) -> Stage:
        return self._stage

    def add_listener(self, on_stage_change: OnStageChange) -> None:
        """Call ``on_stage_change`` at each change of the stage, after those added before."""
        self._listeners.append(on_stage_change)

    def advance(self, stage: Stage) -> None:
        """Change the stage, and call the listeners."""
        before = self._stage
        assert stage in _NEXT_STAGES.get(before, ()), f"{before} -> {stage}"
        self._stage = stage
        for on_stage_change in self._listeners:
            on_stage_change(self, before)

    # Order

    @property
    def earlier(self) -> Sequence[Call]:
        """The calls that are committed before this one, as long as it may wait for them."""
        return self._earlier

    def order_after(self, earlier: Sequence[Call]) -> None:
        """Commit this call after the ``earlier`` ones."""
        self._earlier = earlier

    @property
    def comes_first(self) -> bool:
        """Whether every earlier call has ended."""
        return all(call.is_done for call in self._earlier)

    async def wait_for_earlier(self) -> None:
        """Wait until every earlier call has ended, whatever its outcome."""
        for call in self._earlier:
            await call.wait_until_done()
        self._earlier = ()

    def mark_begun(self) -> None:
        """Take note that work begins: no later call supersedes this one any more.

        Does nothing if the call must wait for earlier calls: then it is still pending.
        """
        self._begun = self._begun or self.comes_first

    # Room, and the source

    @property
    def has_room(self) -> bool:
        return self._has_room.is_set()

    def take_room(self) -> None:
        """Take note that the bytes of the artifact may be pending."""
        self._has_room.set()

    async def wait_for_room(self) -> None:
        """Wait until the bytes of the artifact may be pending, or the call has ended."""
        await self._has_room.wait()

    @property
    def is_released(self) -> bool:
        return self._released.is_set()

    def release(self) -> None:
        """Let the caller overwrite the source: all its bytes are read, copied or moved."""
        self._released.set()

    async def wait_until_released(self) -> None:
        """Wait until the source may be overwritten, or the call has ended."""
        await self._released.wait()

    # Cancellation

    def bind_work(self, cancel: Callable[[], None]) -> None:
        """Set the function that cancels the work on this call. It is called once at most."""
        self._cancel_work = cancel

    def cancel(self, reason: Exception) -> None:
        """Cancel the work if it has not ended. Waiters get ``reason`` if nothing was logged."""
        if not self.is_done:
            self._cancellation = self._cancellation or reason
            self.cancel_work()

    @property
    def cancel_requested(self) -> bool:
        """Whether its caller, its handle or drain() cancelled the work.

        False if it was cancelled because the block ended.
        """
        return self._cancel_requested

    def cancel_work(self) -> None:
        """Cancel the work. The caller was cancelled, and so needs no reason."""
        if not self._cancel_requested and self._cancel_work is not None:
            self._cancel_requested = True
            self._cancel_work()

    def yield_to(self, later: Call) -> None:
        """Let a later call supersede this one, if this one is pending and both are alike.

        They are alike if they record the same name, if at all, and both use the cache or not.
        """
        mine, its = self.request, later.request
        alike = (mine.name, mine.entry is None, mine.cache) == (
            its.name,
            its.entry is None,
            its.cache,
        )
        if self.latest_wins and not self._begun and alike and self._successor is None:
            self._successor = later
            self.cancel_work()

    # Outcome

    @property
    def logged(self) -> LoggedArtifact | None:
        return self._logged

    @property
    def error(self) -> Exception | None:
        return self._error

    @property
    def cancellation(self) -> Exception | None:
        """The reason given to :meth:`cancel`."""
        return self._cancellation

    @property
    def successor(self) -> Call | None:
        return self._successor

    def complete(self, logged: LoggedArtifact) -> None:
        """Set the outcome: the artifact was logged."""
        self._logged, self._successor, self._end_stage = logged, None, "logged"

    def fail(self, error: Exception) -> None:
        """Set the outcome: an error, which is the caller's own."""
        self._error, self._successor, self._end_stage = error, None, "failed"

    def supersede_by(self, successor: Call) -> None:
        """Set the outcome: that of a later call."""
        self._successor, self._end_stage = successor, "superseded"

    def abandon(self, error: Exception) -> None:
        """Set the outcome: the work was cancelled. Waiters get ``error``."""
        self._error, self._end_stage = error, "cancelled"

    def settle(self, error: Exception) -> Stage:
        """Decide the outcome if it is not set, and return the stage in which the call ends.

        Args:
            error: raised to waiters if the work was cancelled without a reason.
        """
        if self._end_stage is None and self._successor is not None:
            self._end_stage = "superseded"
        elif self._end_stage is None:
            self.abandon(self._cancellation or error)
        assert self._end_stage is not None
        return self._end_stage

    def finish(self) -> None:
        """Resume every waiter. The outcome is set."""
        self._earlier = ()  # a handle keeps its call, and must not keep all earlier calls
        self._has_room.set()
        self._released.set()
        self._done.set()

    @property
    def is_done(self) -> bool:
        """Whether the call has ended, and its waiters may resume."""
        return self._done.is_set()

    @property
    def last(self) -> Call:
        """The call whose outcome this one has: itself, or the last of its successors."""
        call = self
        while call._successor is not None:
            call = call._successor
        return call

    # Waiters

    @property
    def is_awaited(self) -> bool:
        """Whether a caller has learned the outcome, or waits for it."""
        return self._delivered or self._waiters > 0

    def mark_delivered(self) -> None:
        """Take note that a caller learns the outcome: from drain(), or in the parent process."""
        self._delivered = self._reported = True

    @property
    def is_reported(self) -> bool:
        """Whether ``mark_delivered`` was called.

        A task that awaits the call is no proof that it learns the outcome: the end of the block may
        have interrupted it.
        """
        return self._reported

    async def wait_until_done(self) -> None:
        """Wait until the call has ended, whatever its outcome."""
        await self._done.wait()

    async def result(self) -> LoggedArtifact:
        """Return the logged artifact, or raise the error, once the call has ended.

        Cancellation: ends the wait; the work goes on.
        """
        self._waiters += 1
        try:
            await self._done.wait()
            if self._successor is not None:
                return await self.last.result()
        finally:
            self._waiters -= 1
        return self.outcome()

    def outcome(self) -> LoggedArtifact:
        """Return the logged artifact, or raise the error, of a call that has ended."""
        if self._successor is not None:
            return self.last.outcome()
        self._delivered = True
        if self._error is not None:
            raise self._error
        assert self._logged is not None
        return self._logged

    async def result_or_cancel(self) -> LoggedArtifact:
        """Return the outcome as :meth:`result` does.

        Cancellation: cancels the work, and waits until it has ended.
        """
        await self._wait_or_cancel(self._done)
        return await self.result()

    async def release_or_cancel(self) -> None:
        """Wait until the source may be overwritten; raise an error that came before that.

        Cancellation: cancels the work, and waits until it has ended.
        """
        await self._wait_or_cancel(self._released)
        if self._error is not None:
            self._delivered = True
            raise self._error

    async def _wait_or_cancel(self, event: anyio.Event) -> None:
        self._waiters += 1
        try:
            await event.wait()
        except BaseException:
            self._delivered = True
            self.cancel_work()
            with anyio.CancelScope(shield=True):
                await self._done.wait()
            if self._logged is not None:
                logger.info(
                    "'%s' was cancelled while its group was committing: it is logged.",
                    self.request.given,
                )
            raise
        finally:
            self._waiters -= 1
