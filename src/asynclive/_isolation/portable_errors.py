"""Errors and their causes in a form that pickles."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from itertools import pairwise

from .._errors import AsyncLiveError


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
