"""Errors and their causes in a form that pickles."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from itertools import pairwise

from .._errors import AsyncLiveError


class RemoteError(Exception):
    """Replaces an exception whose class may be unknown here. States its type and message."""


def errors_to_send(error: BaseException) -> list[Exception]:
    """Return the error and its causes, each in a form that pickles; see :func:`received_error`.

    Errors of asynclive and of Python stay as they are. A :class:`RemoteError` replaces each other
    error, mostly one of DVC: to unpickle it would import DVC, and may fail. An error that is not
    asynclive's was not expected, so its traceback is added as its first cause.
    """
    chain: list[Exception] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(_portable(cause))
        cause = cause.__cause__
    if not isinstance(error, AsyncLiveError):
        chain.insert(1, RemoteError("\n" + "".join(traceback.format_exception(error))))
    return chain


def received_error(errors: Sequence[Exception]) -> Exception:
    """Return the first error, with the others chained to it as causes."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def _portable(error: BaseException) -> Exception:
    if isinstance(error, AsyncLiveError) or type(error).__module__ == "builtins":
        try:
            unpickled = pickle.loads(pickle.dumps(error))
        except Exception:  # an attribute of the error does not pickle
            unpickled = None
        if isinstance(unpickled, Exception):
            return unpickled
    kind = type(error)
    return RemoteError(f"{kind.__module__}.{kind.__qualname__}: {error}")
