"""Logs all paths of ``asynclive log`` in one session, and reports the outcome of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from logging import getLogger
from typing import Any

import anyio

from .._api.async_live import AsyncLive
from .._artifact.push_records import PushResult
from .._artifact.records import LoggedArtifact
from .._errors import AsyncLiveError
from .._instrumentation.events import (
    ArtifactEvent,
    ArtifactLogged,
    ArtifactQueued,
    Pushed,
    PushFailed,
)
from .interruption import cancel_on_signal

logger = getLogger(__name__)

# The path that the current task logs. ``log_artifact`` publishes ArtifactQueued in the task that
# called it, so that the callback for events can read it.
_path_of_task: ContextVar[str] = ContextVar("path")


@dataclass(frozen=True, slots=True)
class NotLogged:
    """A path that was not logged, and the reason."""

    path: str
    """The path that was passed."""
    error: str
    """The name of the error's class, or ``Interrupted``."""
    message: str


@dataclass(frozen=True, slots=True)
class Logged:
    """A path that was logged."""

    path: str
    """The path that was passed."""
    artifact: LoggedArtifact
    push: PushResult | Exception | None = None
    """The outcome of its push. None: no push was asked for, or it was interrupted."""


@dataclass(slots=True)
class Report:
    """The outcome of each path, in the order of the paths."""

    logged: list[Logged] = field(default_factory=list)
    failed: list[NotLogged] = field(default_factory=list)
    not_entered: str | None = None
    """The error because of which the session failed: the repository cannot be opened."""
    signal: int | None = None
    """The signal that interrupted the session."""


def log_paths(
    paths: Sequence[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Report:
    """Log all paths in one session, and return the outcome of each.

    SIGINT, SIGTERM and SIGHUP cancel the artifacts in flight. This function returns when they
    are undone. A second signal ends the process at once.

    Args:
        paths: the paths, in the order of the report.
        settings: arguments of ``AsyncLive``.
        options: arguments of ``log_artifact``, the same for each path.

    Raises:
        InvalidDvcyamlError: ``settings["dvcyaml"]`` is not named ``dvc.yaml``.
    """
    return anyio.run(_log_paths, paths, settings, options)


async def _log_paths(
    paths: Sequence[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Report:
    logged_events = _LoggedEvents()
    session = AsyncLive(**settings, isolation="thread", on_event=logged_events.on_event)
    report = Report()
    outcomes: dict[str, Logged | NotLogged] = {}
    work = anyio.CancelScope()

    async def log(live: AsyncLive, path: str) -> None:
        _path_of_task.set(path)
        try:
            outcomes[path] = Logged(path, await live.log_artifact(path, **options))
        except Exception as error:
            outcomes[path] = _not_logged(path, error)

    async with anyio.create_task_group() as watch:
        await watch.start(cancel_on_signal, work, report)
        try:
            with work:
                async with session as live, anyio.create_task_group() as calls:
                    for path in paths:
                        calls.start_soon(log, live, path)
        except AsyncLiveError as error:
            report.not_entered = str(error)
            outcomes = {path: _not_logged(path, error) for path in paths}
        watch.cancel_scope.cancel()
    for path in paths:
        outcome = outcomes.get(path) or logged_events.outcome(path) or _interrupted(path)
        if isinstance(outcome, Logged):
            report.logged.append(replace(outcome, push=logged_events.push_outcome(path)))
        else:
            report.failed.append(outcome)
    return report


@dataclass(slots=True)
class _LoggedEvents:
    """The logged artifacts and their pushes by path, from events.

    A call that is cancelled while its group is committing returns nothing, but its artifact is
    logged. Only an event has the result then. A push goes on after its call has returned.
    """

    _paths: dict[int, str] = field(default_factory=dict)
    """By the number of the call."""
    _logged: dict[str, LoggedArtifact] = field(default_factory=dict)
    """By the path that was passed."""
    _pushes: dict[str, PushResult | Exception] = field(default_factory=dict)
    """By the path that was passed."""

    def on_event(self, event: ArtifactEvent) -> None:
        if isinstance(event, ArtifactQueued):
            self._paths[event.call] = _path_of_task.get()
        elif isinstance(event, ArtifactLogged):
            self._logged[self._paths[event.call]] = event.artifact
        elif isinstance(event, (Pushed, PushFailed)) and event.call in self._paths:
            outcome = event.result if isinstance(event, Pushed) else event.error
            self._pushes[self._paths[event.call]] = outcome

    def outcome(self, path: str) -> Logged | None:
        """Return the result for ``path``, or None if it is not logged."""
        artifact = self._logged.get(path)
        return None if artifact is None else Logged(path, artifact)

    def push_outcome(self, path: str) -> PushResult | Exception | None:
        """Return the result or the error of the push of ``path``, or None if it has none."""
        return self._pushes.get(path)


def _not_logged(path: str, error: Exception) -> NotLogged:
    message = str(error)
    if not isinstance(error, AsyncLiveError):
        logger.debug("Logging '%s' failed.", path, exc_info=error)
        message = f"'{path}' was not logged: {type(error).__name__}: {message}"
    return NotLogged(path, type(error).__name__, message)


def _interrupted(path: str) -> NotLogged:
    return NotLogged(path, "Interrupted", f"'{path}' was not logged: the command was interrupted.")
