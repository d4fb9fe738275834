"""Errors that another process receives."""

from __future__ import annotations

import copy
import pickle

import pytest
from test_errors import EXAMPLES

from asynclive import AsyncLiveError, CommitError, InvalidDvcyamlError
from asynclive._isolation.portable_errors import RemoteError, errors_to_send, received_error


class ForeignError(Exception):
    """Belongs to another package, and does not unpickle."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def send(error: BaseException) -> Exception:
    """Return the error that another process would raise."""
    return received_error(pickle.loads(pickle.dumps(errors_to_send(error))))


@pytest.mark.parametrize("error", [e for e, _ in EXAMPLES], ids=lambda e: type(e).__name__)
def test_every_error_of_asynclive_arrives_unchanged(error: AsyncLiveError) -> None:
    error = copy.copy(error)
    error.__cause__ = OSError(28, "No space left on device", "/cache/1.tmp")
    received = send(error)
    assert type(received) is type(error)
    assert (str(received), vars(received)) == (str(error), vars(error))
    assert type(received.__cause__) is OSError
    assert (received.__cause__.errno, received.__cause__.filename) == (28, "/cache/1.tmp")


def test_each_cause_arrives_with_its_own_cause() -> None:
    error = CommitError("model.pt", "it failed.")
    error.__cause__ = ForeignError("no", "luck")
    error.__cause__.__cause__ = KeyError("key")
    received = send(error)
    assert type(received.__cause__) is RemoteError
    assert str(received.__cause__) == f"{__name__}.ForeignError: no luck"
    assert isinstance(received.__cause__.__cause__, KeyError)
    assert received.__cause__.__cause__.__cause__ is None


def test_an_unexpected_error_arrives_with_its_traceback() -> None:
    def guilty() -> None:
        raise ForeignError("no", "luck")

    with pytest.raises(ForeignError) as caught:
        guilty()
    received = send(caught.value)
    assert isinstance(received, RemoteError)
    assert "ForeignError: no luck" in str(received)
    assert "in guilty" in str(received.__cause__)


def test_an_error_arrives_even_if_an_attribute_does_not_pickle() -> None:
    error = InvalidDvcyamlError(lambda: None)
    assert "dvc.yaml" in str(send(error))
