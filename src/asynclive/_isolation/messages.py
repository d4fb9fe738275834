"""What AsyncLive and its worker process say to each other; errors in a form that goes there.

Each message is a tuple with a name, and holds only what pickles anywhere.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

# --- To the worker ----------------------------------------------------------------------------


class Log(NamedTuple):
    """A call was made."""

    call: int
    request: bytes
    """A pickle of its own: one that cannot be read there fails this call, and no other."""
    options: dict[str, bool]


class Cancel(NamedTuple):
    """A call was cancelled."""

    call: int


class Level(NamedTuple):
    """From which level on log records of asynclive are wanted."""

    level: int


class Watch(NamedTuple):
    """Samples, and what is committed, are to be told of from now on."""


class Leave(NamedTuple):
    """The block was left, and not by an exception. Nothing comes after it."""

    files: Sequence[str]
    """What the experiment that it ends in is to hold, whichever worker has written it."""


# --- From the worker --------------------------------------------------------------------------


class Entered(NamedTuple):
    """It has opened the repository."""

    real_root: str
    """The root without links."""
    exp_name: str | None
    """Of the experiment that it saves, if it does."""
    place: tuple[str, str] | None
    """Where there is a Live: the root of the repository, and the file of the turn."""


class Left(NamedTuple):
    """It has left the block, or could not enter; its error, if any, and the causes of that."""

    errors: Sequence[Exception]


class Advanced(NamedTuple):
    """A call has come to the next stage, which is not its end."""

    call: int
    stage: Any
    totals: tuple[int, int]
    """Bytes and files to be staged, once that is known."""
    tracked: tuple[int, int]
    """Bytes and files that are tracked, once they are staged."""


class Sampled(NamedTuple):
    """How far the staging of a call has come."""

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
    stage: Any
    logged: Any
    """Less its metadata, which are known."""
    errors: Sequence[Exception]
    """That of the call, and its causes."""
    successor: int | None
    """The call that is logged in its place."""


class Numbers(NamedTuple):
    """What is counted in the worker, up to now."""

    busy_workers: int
    files_staged: int
    bytes_staged: int
    files_unchanged: int
    bytes_unchanged: int
    group_sizes: dict[int, int]


NO_NUMBERS = Numbers(0, 0, 0, 0, 0, {})


def added(one: Numbers, other: Numbers) -> Numbers:
    """The numbers of two workers together."""
    sizes = dict(one.group_sizes)
    for size, groups in other.group_sizes.items():
        sizes[size] = sizes.get(size, 0) + groups
    return Numbers._make([*map(operator.add, one[:-1], other[:-1]), sizes])


class Record(NamedTuple):
    """A record for the log."""

    values: dict[str, Any]


# --- Errors -----------------------------------------------------------------------------------


# --- Log records ------------------------------------------------------------------------------
