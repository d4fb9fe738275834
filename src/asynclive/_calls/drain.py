"""drain(): finish the artifacts that fit into a deadline, and cancel the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from .._artifact.records import LoggedArtifact
from .._errors import ArtifactCancelledError
from .call import Call

# How long a cancelled call may take to end (seconds): usually a moment, or the rest of a commit.
CANCEL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class NotLogged:
    """An artifact that was in flight and is not logged. Nothing of it is left.

    See :class:`DrainResult`.
    """

    path: str
    """The path as the caller wrote it."""
    name: str
    """The name that its entry would have had."""
    error: Exception
    """The reason: :class:`ArtifactCancelledError` if the deadline passed."""


@dataclass(frozen=True, slots=True)
class DrainResult:
    """The outcomes of all artifacts that were in flight: :meth:`AsyncLive.drain` returns them.

    Example::

        async with AsyncLive() as live:
            await live.submit("model.pt")
            result = await live.drain(25)
            for artifact in result.not_logged:
                print(artifact.path, artifact.error)
    """

    logged: tuple[LoggedArtifact, ...]
    """The logged artifacts, in the order of their calls."""
    not_logged: tuple[NotLogged, ...]
    """The others, in the same order. Calls that ``latest_wins`` superseded are in neither."""
    unknown: tuple[str, ...] = ()
    """The paths, as the caller wrote them, of artifacts whose outcome was not known 3 seconds after
    the deadline, because a disk or the worker process does not answer. Each of them is logged
    completely or not at all. Leaving the block waits for them for ``leave_timeout``, at most 10
    seconds; with ``isolation="thread"`` it waits until they end."""


async def drain(calls: Sequence[Call], deadline: float | None) -> DrainResult:
    """Wait for the calls for ``deadline`` seconds (None: no limit), then cancel the rest.

    A cancelled call that does not end within ``CANCEL_SECONDS`` is left to itself.

    Cancellation: ends the wait. Calls that were not cancelled go on.
    """
    with anyio.move_on_after(deadline):
        for call in calls:
            await call.wait_until_done()
    for call in calls:
        call.cancel(
            ArtifactCancelledError(call.request.given, "the deadline of drain() has passed.")
        )
    with anyio.move_on_after(None if deadline is None else CANCEL_SECONDS):
        for call in calls:
            await call.wait_until_done()
    for call in calls:
        if call.is_done:
            call.mark_delivered()
    return DrainResult(
        logged=tuple(call.logged for call in calls if call.logged is not None),
        not_logged=tuple(
            NotLogged(call.request.given, call.request.name, call.error)
            for call in calls
            if call.error is not None and call.logged is None
        ),
        unknown=tuple(call.request.given for call in calls if not call.is_done),
    )
