"""What AsyncLive and its worker process say to each other; errors in a form that goes there.

Each message is a tuple with a name, and holds only what pickles anywhere.
"""

from __future__ import annotations

import logging
import operator
import pickle
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from .._errors import AsyncLiveError

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


class RemoteError(Exception):
    """Stands for an exception of a class that need not be known here; says which, and what."""


def with_causes(error: BaseException) -> list[Exception]:
    """The error and its causes, each as it can be had in another process, for ``chained``.

    asynclive's own and Python's stay what they are. Others, which are DVC's, could not be
    unpickled everywhere, and would bring DVC with them. Of an error that nobody expected the
    first cause is its traceback.
    """
    chain: list[Exception] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(_portable(cause))
        cause = cause.__cause__
    if not isinstance(error, AsyncLiveError):
        chain.insert(1, RemoteError("\n" + "".join(traceback.format_exception(error))))
    return chain


def chained(errors: Sequence[Exception]) -> Exception:
    """The error that ``with_causes`` was given."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def _portable(error: BaseException) -> Exception:
    if isinstance(error, AsyncLiveError) or type(error).__module__ == "builtins":
        try:
            same = pickle.loads(pickle.dumps(error))
        except Exception:  # by what its attributes hold
            same = None
        if isinstance(same, Exception):
            return same
    kind = type(error)
    return RemoteError(f"{kind.__module__}.{kind.__qualname__}: {error}")


# --- Log records ------------------------------------------------------------------------------

_PLAIN = (str, int, float, type(None))


def portable_record(record: logging.LogRecord) -> Record:
    """The record, with its traceback as text, and with its arguments where they are plain."""
    values = {name: vars(record)[name] for name in _RECORDED if name in vars(record)}
    if record.exc_info:
        values["exc_text"] = record.exc_text or _formatter.formatException(record.exc_info)
    args = record.args
    if not isinstance(args, tuple) or not all(isinstance(arg, _PLAIN) for arg in args):
        values["msg"], values["args"] = record.getMessage(), ()
    return Record(values)


_formatter = logging.Formatter()
# Less what is an object of this process, and what others have added.
_RECORDED = (
    *("name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "lineno"),
    *("funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName"),
    *("process", "taskName", "exc_text", "stack_info"),
)
