"""Errors and log records that go to another process: what they are there."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
from pathlib import Path

import pytest
from test_errors import EXAMPLES

from asynclive import AsyncLiveError, CommitError, InvalidDvcyamlError
from asynclive._isolation.log_forwarding import portable_record
from asynclive._isolation.messages import Numbers, added
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


def test_a_log_record_has_its_arguments_where_they_are_plain() -> None:
    logger = logging.getLogger("asynclive._workspace.temp_session")
    plain = logger.makeRecord(logger.name, 20, "f.py", 7, "%s: %d", ("a", 1), None, "func")
    other = logger.makeRecord(logger.name, 20, "f.py", 7, "%s", (Path("a"),), None, "func")
    for record, args in ((plain, ("a", 1)), (other, ())):
        there = logging.makeLogRecord(pickle.loads(pickle.dumps(portable_record(record))).values)
        assert there.getMessage() == record.getMessage()
        assert there.args == args
        assert (there.name, there.levelno, there.lineno, there.funcName, there.created) == (
            (record.name, record.levelno, record.lineno, record.funcName, record.created)
        )


def test_a_log_record_has_its_traceback_as_text() -> None:
    logger = logging.getLogger("asynclive")
    try:
        raise TheirError("no", "luck")
    except TheirError:
        info = sys.exc_info()
    record = logger.makeRecord(logger.name, 40, "f.py", 7, "failed", (), info)
    values = pickle.loads(pickle.dumps(portable_record(record))).values
    assert "TheirError: no luck" in values["exc_text"]
    assert "TheirError: no luck" in logging.Formatter().format(logging.makeLogRecord(values))


def test_the_numbers_of_two_workers_add_up() -> None:
    one = Numbers(1, 2, 3, 4, 5, {1: 2, 3: 4})
    other = Numbers(10, 20, 30, 40, 50, {3: 1, 5: 1})
    assert added(one, other) == Numbers(11, 22, 33, 44, 55, {1: 2, 3: 5, 5: 1})
