"""One artifact in flight: how far it has come, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any, Literal

import anyio

from ._artifact import ArtifactRequest, LoggedArtifact
from ._sampler import StagingProgress
from ._tracing import CallTrace

logger = getLogger(__name__)

Stage = Literal[
    "queued", "staging", "staged", "committing", "logged", "failed", "cancelled", "superseded"
]
"""How far an artifact has come; the last four are ends."""


@dataclass(eq=False, slots=True)
class Call:
    """One call of submit or log_artifact. A task of AsyncLive's own works on it."""

    request: ArtifactRequest
    submitted: bool = False
    """Its caller goes on while it is in flight, and has declared an order."""
    stage: Stage = "queued"
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    released: anyio.Event = field(default_factory=anyio.Event)
    """The source may be overwritten, or the call has ended."""
    done: anyio.Event = field(default_factory=anyio.Event)
    logged: LoggedArtifact | None = None
    error: Exception | None = None
    awaited: bool = False
    """Somebody was told of the error, or waits to be."""
    on_stage: Callable[[Call], None] | None = None
    """Told of each change of the stage."""
    number: int = 0
    """In the order of the calls, from 1 on."""
    progress: StagingProgress = field(default_factory=StagingProgress)
    trace: CallTrace | None = None
    tracked_path: Path | None = None
    """As events have it; made when the first is."""

    def advance(self, stage: Stage) -> None:
        """The one place where the stage changes."""
        self.stage = stage
        if self.on_stage is not None:
            self.on_stage(self)

    def end(self) -> None:
        """Tell everybody who waits; ``logged`` or ``error`` is set."""
        self.released.set()
        self.done.set()

    async def result(self) -> LoggedArtifact:
        """Wait for the end. Cancellation: nothing happens to the artifact."""
        self.awaited = True
        await self.done.wait()
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
            self.awaited = True
            raise self.error

    async def _wait_or_cancel(self, event: anyio.Event) -> None:
        try:
            await event.wait()
        except BaseException:
            self.awaited = True
            self.scope.cancel()
            with anyio.CancelScope(shield=True):
                await self.done.wait()
            if self.logged is not None:
                logger.info(
                    "'%s' was cancelled when its group was committing already: it is logged.",
                    self.request.given,
                )
            raise


class ArtifactHandle:
    """What :meth:`AsyncLive.submit` returns: an artifact that is being logged.

    ``await handle`` gives the :class:`LoggedArtifact`, or raises why it was not logged; any
    number of tasks may, any number of times.

    Example::

        async with AsyncLive() as live:
            handle = await live.submit("model.pt")
            ...  # "model.pt" may be overwritten, or deleted
            logged = await handle
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def name(self) -> str:
        """The name in dvc.yaml; where no entry was wanted, the name it would have had."""
        return self._call.request.name

    @property
    def path(self) -> Path:
        """The tracked path, absolute; with ``copy`` that of the copy."""
        return Path(self._call.request.path)

    @property
    def stage(self) -> Stage:
        """How far it has come.

        ``"queued"``, ``"staging"`` (copied and hashed), ``"staged"`` (all bytes are in the cache;
        it waits for the next group), ``"committing"``, and then one of ``"logged"``, ``"failed"``,
        ``"cancelled"``, ``"superseded"``.
        """
        return self._call.stage

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._call.done.is_set()

    def cancel(self) -> None:
        """Do not log it, if that can still be: nothing is left of it then.

        Returns at once. An artifact whose group is committing is logged all the same; ``await
        handle`` says which it was. May be called at any time, and more than once. From another
        thread, use the event loop's own way (``call_soon_threadsafe``).
        """
        if not self.done:
            self._call.scope.cancel()

    async def wait(self) -> LoggedArtifact:
        """Return what was logged, once it is; the same as ``await handle``.

        Raises:
            AsyncLiveError: what :meth:`AsyncLive.log_artifact` would have raised.

        Cancellation: ends the wait. The artifact is logged all the same; ``cancel`` stops it.
        """
        return await self._call.result()

    def __await__(self) -> Generator[Any, Any, LoggedArtifact]:
        return self.wait().__await__()

    def __repr__(self) -> str:
        return f"<ArtifactHandle of '{self._call.request.given}': {self.stage}>"
