"""The messages between a session and its worker process, both ways.

Each message is a named tuple of values that pickle in any process. The parent numbers calls and
explicit pushes together; the push of an artifact has the number of its call.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from .._artifact.push_records import PushRequest, PushResult
from .._calls.call import CallOptions, Stage
from .._calls.push import PushStage
from .._dvclive.experiment import WantedExperiment
from .._engine.settings import Settings

# How often a worker says that it runs (seconds).
BEAT_SECONDS = 1.0

# --- To the worker, before all others -----------------------------------------------------------


class Start(NamedTuple):
    """The session that the worker builds."""

    settings: Settings
    experiment: WantedExperiment | None
    """The experiment that the worker saves; None: it saves none."""
    log_level: int
    """The minimum level of log records that the parent handles."""


# --- To the worker ----------------------------------------------------------------------------


class LogArtifact(NamedTuple):
    """Log an artifact."""

    call: int
    request: bytes
    """A pickle of its own: if the worker cannot read it, only this call fails."""
    options: CallOptions


class Cancel(NamedTuple):
    """Cancel a call."""

    call: int


class StartPush(NamedTuple):
    """Push what a caller of ``AsyncLive.push`` asks for."""

    push: int
    request: PushRequest
    name: str


class CancelPush(NamedTuple):
    """Cancel a push."""

    push: int


class LogLevel(NamedTuple):
    """Set the minimum level of log records that the parent handles."""

    level: int


class StartEvents(NamedTuple):
    """Report samples and commits from now on: the parent has consumers of events."""


class Leave(NamedTuple):
    """Leave the block: the parent's block ended without an exception. The last message."""

    files: Sequence[str]
    """The files that the experiment of the session must hold, whichever worker wrote them."""


# --- From the worker --------------------------------------------------------------------------


class Entered(NamedTuple):
    """The worker has opened the repository."""

    real_root: str
    """The root without symlinks."""
    exp_name: str | None
    """The name of the experiment that the worker saves, if it saves one."""
    live_repository: tuple[str, str] | None
    """With a ``dvclive.Live``: the root of the repository, and the lock file of dvc.yaml."""


class Left(NamedTuple):
    """The worker has left the block, or could not enter."""

    errors: Sequence[Exception]
    """The error and its causes; empty if there was none."""


class Advanced(NamedTuple):
    """A call has a new stage, which is not an end."""

    call: int
    stage: Stage
    totals: tuple[int, int]
    """Bytes and files to stage, once they are known."""
    tracked: tuple[int, int]
    """Bytes and files of the staged artifact, once they are known."""


class Sampled(NamedTuple):
    """The progress of a call that is being staged."""

    call: int
    files_done: int
    bytes_done: int


class Committed(NamedTuple):
    """The artifact of a call is tracked and recorded."""

    call: int
    md5: str | None


class Released(NamedTuple):
    """The source of a call may be overwritten."""

    call: int


class Done(NamedTuple):
    """A call has ended."""

    call: int
    stage: Stage
    logged: Any
    """The LoggedArtifact without its metadata, which the parent has."""
    errors: Sequence[Exception]
    """The error of the call, and its causes."""
    successor: int | None
    """The call that is logged in its place."""


class PushAdopted(NamedTuple):
    """The worker pushes an artifact that an earlier session did not push."""

    push: int
    """A number below zero: the worker has chosen it."""
    path: str
    remote: str


class PushBegan(NamedTuple):
    """A push looks for objects, and sends them."""

    push: int


class PushSampled(NamedTuple):
    """The progress of a push."""

    push: int
    done: tuple[int, int]
    """Objects and bytes."""
    totals: tuple[int, int]
    """Objects and bytes, once they are known."""


class PushEnded(NamedTuple):
    """A push has ended."""

    push: int
    stage: PushStage
    result: PushResult | None
    errors: Sequence[Exception]
    """The error of the push, and its causes."""


class Numbers(NamedTuple):
    """The counters of the worker at this moment."""

    busy_workers: int
    files_staged: int
    bytes_staged: int
    files_unchanged: int
    bytes_unchanged: int
    group_sizes: dict[int, int]


class Beat(NamedTuple):
    """The event loop of the worker runs. Sent every ``BEAT_SECONDS``."""

    busy_seconds: float
    """The processor time that the worker has used."""
    pushed_bytes: int = 0
    """The bytes that the pushes in flight have sent so far."""


NO_NUMBERS = Numbers(0, 0, 0, 0, 0, {})


def add_numbers(one: Numbers, other: Numbers) -> Numbers:
    """Return the sums of the counters of two workers."""
    sizes = dict(one.group_sizes)
    for size, groups in other.group_sizes.items():
        sizes[size] = sizes.get(size, 0) + groups
    return Numbers._make([*map(operator.add, one[:-1], other[:-1]), sizes])


class LogRecord(NamedTuple):
    """A log record of the worker; see ``portable_record``."""

    values: dict[str, Any]
    """The attributes of the record that pickle."""
