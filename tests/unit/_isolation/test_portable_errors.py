"""Errors that go to another process: what they are there."""

from __future__ import annotations

import copy
import pickle

import pytest
from test_errors import EXAMPLES

from asynclive import AsyncLiveError, CommitError, InvalidDvcyamlError
from asynclive._isolation.portable_errors import RemoteError, chained, with_causes


class TheirError(Exception):
    """Of a package that need not be there; and it does not unpickle."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def sent(error: BaseException) -> Exception:
    return chained(pickle.loads(pickle.dumps(with_causes(error))))


@pytest.mark.parametrize("error", [e for e, _ in EXAMPLES], ids=lambda e: type(e).__name__)
def test_every_error_is_the_same_there(error: AsyncLiveError) -> None:
    error = copy.copy(error)
    error.__cause__ = OSError(28, "No space left on device", "/cache/1.tmp")
    there = sent(error)
    assert type(there) is type(error)
    assert (str(there), vars(there)) == (str(error), vars(error))
    assert type(there.__cause__) is OSError
    assert (there.__cause__.errno, there.__cause__.filename) == (28, "/cache/1.tmp")


def test_each_cause_has_its_own_cause() -> None:
    error = CommitError("model.pt", "it failed.")
    error.__cause__ = TheirError("no", "luck")
    error.__cause__.__cause__ = KeyError("key")
    there = sent(error)
    assert type(there.__cause__) is RemoteError
    assert str(there.__cause__) == f"{__name__}.TheirError: no luck"
    assert isinstance(there.__cause__.__cause__, KeyError)
    assert there.__cause__.__cause__.__cause__ is None


def test_an_error_that_nobody_expected_says_where_it_was_raised() -> None:
    def guilty() -> None:
        raise TheirError("no", "luck")

    with pytest.raises(TheirError) as caught:
        guilty()
    there = sent(caught.value)
    assert isinstance(there, RemoteError)
    assert "TheirError: no luck" in str(there)
    assert "in guilty" in str(there.__cause__)


def test_what_an_attribute_holds_need_not_pickle() -> None:
    error = InvalidDvcyamlError(lambda: None)
    assert "dvc.yaml" in str(sent(error))
