"""Finish what can be finished in time, and say what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from .._artifact.records import LoggedArtifact
from .._errors import ArtifactCancelledError
from .call import Call


@dataclass(frozen=True, slots=True)
class NotLogged:
    """An artifact that was in flight, and is not logged: nothing of it is left."""

    path: str
    """As the caller wrote it."""
    name: str
    """The name it would have had."""
    error: Exception
    """Why: :class:`ArtifactCancelledError` where its time was up."""


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What :meth:`AsyncLive.drain` returns: what became of all that was in flight."""

    logged: tuple[LoggedArtifact, ...]
    """In the order in which they were submitted."""
    not_logged: tuple[NotLogged, ...]
    """Likewise. A call that ``latest_wins`` has superseded is neither here nor there."""


async def drain(calls: Sequence[Call], deadline: float | None) -> DrainResult:
    """Wait for the calls for ``deadline`` seconds, and cancel the rest of them.

    Cancellation: ends the wait; the calls go on, as far as they were not cancelled.
    """
    with anyio.move_on_after(deadline):
        for call in calls:
            await call.done.wait()
    for call in calls:
        call.cancel(
            ArtifactCancelledError(call.request.given, "the deadline of drain() has passed.")
        )
    for call in calls:
        await call.done.wait()
        call.told = True
    return DrainResult(
        logged=tuple(call.logged for call in calls if call.logged is not None),
        not_logged=tuple(
            NotLogged(call.request.given, call.request.name, call.error)
            for call in calls
            if call.error is not None and call.logged is None
        ),
    )
