"""Push: one push in flight, of a logged artifact or of ``AsyncLive.push``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import anyio

from .._artifact.push_records import PushRequest, PushResult
from .._instrumentation.push_progress import PushCounts

PushStage = Literal["waiting", "pushing", "pushed", "failed", "cancelled"]
"""The stages of a push. The last three are ends."""
PUSH_ENDS: frozenset[PushStage] = frozenset({"pushed", "failed", "cancelled"})

OnPushChange = Callable[["Push", PushStage], None]
"""Called with the push, whose stage is the new one, and with the stage before."""


class Push:
    """One push. A task of the session works on it.

    Args:
        request: what the caller asks for.
        number: the place among the pushes of the session, from 1 on.
        name: for messages: the name of the artifact, or the targets.
        path: the tracked path of the artifact; None: the push has other targets.
        call: the number of the call whose artifact it is; None: it belongs to ``AsyncLive.push``.
    """

    __slots__ = (
        "_cancel_requested",
        "_cancel_work",
        "_cancellation",
        "_delivered",
        "_done",
        "_error",
        "_listeners",
        "_reported",
        "_result",
        "_stage",
        "_waiters",
        "call",
        "name",
        "number",
        "path",
        "progress",
        "request",
    )

    def __init__(
        self,
        request: PushRequest,
        number: int,
        name: str,
        path: str | None = None,
        call: int | None = None,
    ) -> None:
        self.request: PushRequest = request
        self.number: int = number
        self.name: str = name
        self.path: str | None = path
        self.call: int | None = call
        self.progress: PushCounts = PushCounts()
        self._stage: PushStage = "waiting"
        self._listeners: list[OnPushChange] = []
        self._done = anyio.Event()
        self._result: PushResult | None = None
        self._error: Exception | None = None
        self._cancel_work: Callable[[], None] | None = None
        self._cancel_requested = False
        # Why drain() cancelled the work. None: it did not.
        self._cancellation: Exception | None = None
        self._delivered = False
        self._reported = False
        self._waiters = 0

    @property
    def stage(self) -> PushStage:
        return self._stage

    def add_listener(self, on_change: OnPushChange) -> None:
        """Call ``on_change`` at each change of the stage, after those added before."""
        self._listeners.append(on_change)

    def begin(self) -> None:
        """Take note that objects are looked for and sent from now on."""
        self._advance("pushing")

    def bind_work(self, cancel: Callable[[], None]) -> None:
        """Set the function that cancels the work on this push. It is called once at most."""
        self._cancel_work = cancel
        if self._cancel_requested:
            cancel()

    def cancel(self, reason: Exception) -> None:
        """Cancel the work if it has not ended. Waiters get ``reason``."""
        if not self.is_done:
            self._cancellation = self._cancellation or reason
            self.cancel_work()

    def cancel_work(self) -> None:
        """Cancel the work, now or once it begins. Objects that are in the remote stay there."""
        if not self._cancel_requested and not self.is_done:
            self._cancel_requested = True
            if self._cancel_work is not None:
                self._cancel_work()

    @property
    def cancellation(self) -> Exception | None:
        """The reason given to :meth:`cancel`."""
        return self._cancellation

    @property
    def cancel_requested(self) -> bool:
        """Whether its caller or drain() cancelled the work."""
        return self._cancel_requested

    def complete(self, result: PushResult) -> None:
        """End: every object is in the remote, and proven."""
        self._result = result
        self._end("pushed")

    def fail(self, error: Exception) -> None:
        """End by an error, which is the caller's own."""
        self._error = error
        self._end("failed")

    def abandon(self, error: Exception) -> None:
        """End because the work was cancelled. Waiters get ``error``."""
        self._error = error
        self._end("cancelled")

    @property
    def result_record(self) -> PushResult | None:
        return self._result

    @property
    def error(self) -> Exception | None:
        return self._error

    @property
    def is_done(self) -> bool:
        """Whether the push has ended, and its waiters may resume."""
        return self._done.is_set()

    @property
    def is_awaited(self) -> bool:
        """Whether a caller has learned the outcome, or waits for it."""
        return self._delivered or self._waiters > 0

    def mark_delivered(self) -> None:
        """Take note that a caller learns the outcome: from drain(), or in the parent process."""
        self._delivered = self._reported = True

    @property
    def is_reported(self) -> bool:
        """Whether ``mark_delivered`` was called; see ``Call.is_reported``."""
        return self._reported

    async def wait_until_done(self) -> None:
        """Wait until the push has ended, whatever its outcome."""
        await self._done.wait()

    async def result(self) -> PushResult:
        """Return the result, or raise the error, once the push has ended.

        Cancellation: ends the wait; the work goes on.
        """
        self._waiters += 1
        try:
            await self._done.wait()
        finally:
            self._waiters -= 1
        return self.outcome()

    async def result_or_cancel(self) -> PushResult:
        """Return the outcome as :meth:`result` does.

        Cancellation: cancels the work, and waits until it has ended.
        """
        self._waiters += 1
        try:
            await self._done.wait()
        except BaseException:
            self._delivered = True
            self.cancel_work()
            with anyio.CancelScope(shield=True):
                await self._done.wait()
            raise
        finally:
            self._waiters -= 1
        return self.outcome()

    def outcome(self) -> PushResult:
        """Return the result, or raise the error, of a push that has ended."""
        self._delivered = True
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _end(self, stage: PushStage) -> None:
        self._advance(stage)
        self._done.set()

    def _advance(self, stage: PushStage) -> None:
        before = self._stage
        assert before not in PUSH_ENDS, f"{before} -> {stage}"
        self._stage = stage
        for on_change in self._listeners:
            on_change(self, before)
