"""Log records that another process receives."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

from asynclive._isolation.log_forwarding import portable_record


def test_a_log_record_keeps_its_arguments_if_they_are_plain() -> None:
    logger = logging.getLogger("asynclive._workspace.temp_session")
    plain = logger.makeRecord(logger.name, 20, "f.py", 7, "%s: %d", ("a", 1), None, "func")
    other = logger.makeRecord(logger.name, 20, "f.py", 7, "%s", (Path("a"),), None, "func")
    for record, args in ((plain, ("a", 1)), (other, ())):
        values = pickle.loads(pickle.dumps(portable_record(record))).values
        received = logging.makeLogRecord(values)
        assert received.getMessage() == record.getMessage()
        assert received.args == args
        for name in ("name", "levelno", "lineno", "funcName", "created"):
            assert getattr(received, name) == getattr(record, name)


def test_a_log_record_carries_its_traceback_as_text() -> None:
    class LocalError(Exception):
        """Does not pickle: its class is local to a function."""

    logger = logging.getLogger("asynclive")
    try:
        raise LocalError("no luck")
    except LocalError:
        info = sys.exc_info()
    record = logger.makeRecord(logger.name, 40, "f.py", 7, "failed", (), info)
    values = pickle.loads(pickle.dumps(portable_record(record))).values
    assert "LocalError: no luck" in values["exc_text"]
    assert "LocalError: no luck" in logging.Formatter().format(logging.makeLogRecord(values))
