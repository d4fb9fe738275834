"""Importing DVC under ``preserve_process_settings`` changes nothing in the process.

One interpreter runs all scenarios of ``dvc_imports.py`` and reports their facts.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twin import Templates

from asynclive._dvc.process_guard import ProcessGuard, mute_logger, preserve_process_settings

SILENT = {"stdout": "", "stderr": ""}


@pytest.fixture(scope="module")
def facts(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the facts of each scenario, by its name."""
    program = Path(__file__).with_name("dvc_imports.py")
    done = subprocess.run(
        [sys.executable, program],
        cwd=templates.make("git", tmp_path_factory.mktemp("dvc_imports") / "base"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_dvc_is_imported_if_a_stream_is_closed(facts: dict[str, Any]) -> None:
    assert facts["import_with_a_closed_stream"] == {"stream is kept": True, **SILENT}


def test_without_the_guard_importing_dvc_changes_the_process(facts: dict[str, Any]) -> None:
    # Otherwise the other tests would show nothing.
    changed = facts["import_without_the_guard"]["changed"]
    assert {"streams", "logger dvc", "logger dvc_data", "logger asyncio"} <= set(changed)


def test_after_the_block_the_process_is_as_before(facts: dict[str, Any]) -> None:
    assert facts["open_dvcs_repository"] == {"changed": [], **SILENT}


def test_opening_a_repository_changes_nothing_in_the_process(facts: dict[str, Any]) -> None:
    assert facts["open_asynclives_repository"] == {"changed": [], **SILENT}


def test_the_applications_own_settings_are_kept(facts: dict[str, Any]) -> None:
    kept = facts["import_after_the_application_has_set_up_logging"]
    assert kept["changed"] == []
    assert kept["stderr"] == ""
    assert len(kept["stdout"].splitlines()) == 2


def test_dvc_prints_nothing_after_the_block(facts: dict[str, Any]) -> None:
    assert facts["log_after_the_block"] == SILENT


def test_if_the_application_imported_dvc_itself_its_settings_stay(facts: dict[str, Any]) -> None:
    kept = facts["import_after_the_application_has"]
    assert kept == {"changed": [], "DVC has handlers": True, **SILENT}


def test_the_settings_are_restored_if_the_import_fails(facts: dict[str, Any]) -> None:
    assert facts["import_that_fails"] == {"changed": [], **SILENT}


def test_a_stream_that_other_code_installs_during_the_import_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "dvc", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    theirs = io.StringIO()
    with preserve_process_settings():
        sys.stdout = theirs
    assert sys.stdout is theirs


# --- Muting one logger ----------------------------------------------------------------------


def test_a_muted_logger_drops_its_records_and_no_other_loggers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    logger, below = logging.getLogger("some.where"), logging.getLogger("some.where.below")
    before = logger.level, list(logger.filters), list(logger.handlers)
    with contextlib.suppress(ZeroDivisionError), mute_logger("some.where"):
        logger.error("dropped")
        below.error("below")
        raise ZeroDivisionError
    logger.error("after")
    assert [record.getMessage() for record in caplog.records] == ["below", "after"]
    assert (logger.level, list(logger.filters), list(logger.handlers)) == before


# --- One thread at a time -------------------------------------------------------------------


def test_after_a_fork_the_guard_is_free_and_an_older_block_still_ends() -> None:
    guard = ProcessGuard()
    with guard.hold():
        assert guard.locked()
        guard.reset_after_fork()
        assert not guard.locked()
        with guard.hold():
            assert guard.locked()
    assert not guard.locked()
