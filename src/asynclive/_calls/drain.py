"""drain(): finish the artifacts and pushes that fit into a deadline, and cancel the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio

from .._artifact.records import LoggedArtifact
from .._errors import ArtifactCancelledError, PushError
from .call import Call
from .push import Push

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
class NotPushed:
    """An artifact that is committed, and whose push did not end in time, or failed.

    The next session with ``push``, or ``asynclive push``, pushes it. See :class:`DrainResult`.
    """

    path: str
    """The tracked path, absolute."""
    name: str
    """The name, as in :class:`LoggedArtifact`."""
    error: Exception
    """The reason."""


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
    not_pushed: tuple[NotPushed, ...] = ()
    """The artifacts that are committed, and whose pushes failed or were cancelled."""


async def drain(
    calls: Sequence[Call], pushes: Callable[[], Iterable[Push]], deadline: float | None
) -> DrainResult:
    """Wait for the calls and pushes for ``deadline`` seconds (None: no limit), cancel the rest.

    A cancelled call or push that does not end within ``CANCEL_SECONDS`` is left to itself.

    Args:
        calls: the calls in flight. No other call follows.
        pushes: returns the pushes in flight. Calls that are logged add theirs.
        deadline: in seconds.

    Cancellation: ends the wait. Calls and pushes that were not cancelled go on.
    """
    waited: dict[Push, None] = dict.fromkeys(pushes())
    with anyio.move_on_after(deadline):
        for call in calls:
            await call.wait_until_done()
        waited |= dict.fromkeys(pushes())
        for push in waited:
            await push.wait_until_done()
    for call in calls:
        call.cancel(
            ArtifactCancelledError(call.request.given, "the deadline of drain() has passed.")
        )
        if call.push is not None:
            waited[call.push] = None
    for push in waited:
        push.cancel(PushError(push.request.remote, "the deadline of drain() has passed."))
    with anyio.move_on_after(None if deadline is None else CANCEL_SECONDS):
        for call in calls:
            await call.wait_until_done()
        for push in list(pushes()):
            await push.wait_until_done()
    for call in calls:
        if call.is_done:
            call.mark_delivered()
    unlogged = {call.push for call in calls if call.logged is None}
    not_pushed = [push for push in waited if push not in unlogged and push.result_record is None]
    for push in not_pushed:
        push.mark_delivered()
    return DrainResult(
        logged=tuple(call.logged for call in calls if call.logged is not None),
        not_logged=tuple(
            NotLogged(call.request.given, call.request.name, call.error)
            for call in calls
            if call.error is not None and call.logged is None
        ),
        unknown=tuple(call.request.given for call in calls if not call.is_done),
        not_pushed=tuple(
            NotPushed(push.path, push.name, push.error or _unknown_outcome(push))
            for push in not_pushed
            if push.path is not None
        ),
    )


def _unknown_outcome(push: Push) -> PushError:
    return PushError(
        push.request.remote,
        "the deadline of drain() has passed, and the push has not ended yet.",
    )
