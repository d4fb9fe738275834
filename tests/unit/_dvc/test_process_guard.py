"""What importing DVC does to a process, in processes of their own: nothing, in the block."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from asynclive._dvc.process_guard import ProcessGuard, logger_muted, process_settings_kept

# Everything of the process that a library could have changed by the back door.
LOOK = """
import gc, locale, logging, os, signal, sys, threading, warnings

def look():
    seen = {}
    for name, logger in [("root", logging.root), *logging.root.manager.loggerDict.items()]:
        if isinstance(logger, logging.Logger):
            handlers = [h for h in logger.handlers if type(h) is not logging.NullHandler]
            seen[f"logger {name}"] = [
                logger.level, handlers, logger.filters, logger.propagate, logger.disabled
            ]
    umask = os.umask(0)
    os.umask(umask)
    seen.update({
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "hooks": [sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook],
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "warnings": [list(warnings.filters), warnings.showwarning],
        "environment": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "directory": [os.getcwd(), umask],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold()],
        "logging": [logging.getLoggerClass(), logging.root.manager.disable],
        "threads": threading.enumerate(),
    })
    return seen

def changed(before, after):
    untouched = [logging.NOTSET, [], [], True, False]
    return sorted(
        name for name in after
        if after[name] != before.get(name, untouched if name.startswith("logger") else None)
    )
"""


def run(code: str, cwd: Path) -> list[str]:
    """What the code printed, line by line, in a process that has imported nothing of DVC."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK + textwrap.dedent(code)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_dvc_is_imported_where_a_stream_was_closed(tmp_path: Path) -> None:
    code = """
    import io
    from asynclive._dvc.process_guard import process_settings_kept

    sys.stderr = closed = io.StringIO()
    closed.close()
    with process_settings_kept():
        import dvc.repo
    kept, sys.stderr = sys.stderr is closed, sys.__stderr__
    print(kept)
    """
    assert run(code, tmp_path) == ["True"]


def test_importing_dvc_alone_would_change_the_process(tmp_path: Path) -> None:
    # Or the next test would show nothing.
    code = """
        before = look()
        import dvc.repo
        print(changed(before, look()))
    """
    (line,) = run(code, tmp_path)
    for name in ("streams", "logger dvc", "logger dvc_data", "logger asyncio"):
        assert name in line


def test_after_the_block_the_process_is_as_it_was(repo: Path) -> None:
    code = """
        from asynclive._dvc.process_guard import process_settings_kept
        before = look()
        with process_settings_kept():
            from dvc.repo import Repo
            Repo().close()
        print(changed(before, look()))
    """
    assert run(code, repo) == ["[]"]


def test_opening_a_repository_leaves_the_process_as_it_was(repo: Path) -> None:
    code = """
        from asynclive._dvc.repository.dvc_repository import DvcRepository
        before = look()
        DvcRepository.open(os.getcwd()).close()
        print(changed(before, look()))
    """
    assert run(code, repo) == ["[]"]


def test_what_the_application_had_set_itself_is_kept(tmp_path: Path) -> None:
    code = """
        from asynclive._dvc.process_guard import process_settings_kept
        mine = logging.StreamHandler(sys.stdout)
        logging.basicConfig(handlers=[mine], level=logging.INFO)
        for name in ("dvc", "asyncio", "aiohttp"):
            logging.getLogger(name).setLevel(logging.DEBUG)
            logging.getLogger(name).addHandler(mine)
        before = look()
        with process_settings_kept():
            import dvc.repo
        print(changed(before, look()))
        logging.getLogger("asyncio").info("heard once by its handler and once by the root's")
    """
    kept, *heard = run(code, tmp_path)
    assert kept == "[]"
    assert len(heard) == 2


def test_dvc_says_nothing_after_the_block(tmp_path: Path) -> None:
    code = """
        from asynclive._dvc.process_guard import process_settings_kept
        with process_settings_kept():
            import dvc.repo
        for name in ("dvc", "dvc.repo", "dvc_data", "dvc_objects"):
            logging.getLogger(name).info("a hint for the terminal")
    """
    assert run(code, tmp_path) == []


def test_where_the_application_imported_dvc_itself_its_settings_stay(tmp_path: Path) -> None:
    code = """
        from asynclive._dvc.process_guard import process_settings_kept
        import dvc.repo
        before = look()
        with process_settings_kept():
            import dvc.repo
        print(changed(before, look()), bool(logging.getLogger("dvc").handlers))
    """
    assert run(code, tmp_path) == ["[] True"]


def test_the_settings_come_back_when_the_import_fails(tmp_path: Path) -> None:
    code = """
        from asynclive._dvc.process_guard import process_settings_kept
        before = look()
        try:
            with process_settings_kept():
                import dvc.repo
                raise ImportError
        except ImportError:
            print(changed(before, look()))
    """
    assert run(code, tmp_path) == ["[]"]


def test_a_stream_that_somebody_else_put_in_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "dvc", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    theirs = io.StringIO()
    with process_settings_kept():
        sys.stdout = theirs
    assert sys.stdout is theirs


# --- Muting one logger ----------------------------------------------------------------------


def test_a_muted_logger_says_nothing_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    logger, below = logging.getLogger("some.where"), logging.getLogger("some.where.below")
    before = logger.level, list(logger.filters), list(logger.handlers)
    with contextlib.suppress(ZeroDivisionError), logger_muted("some.where"):
        logger.error("unheard")
        below.error("below")
        raise ZeroDivisionError
    logger.error("after")
    assert [record.getMessage() for record in caplog.records] == ["below", "after"]
    assert (logger.level, list(logger.filters), list(logger.handlers)) == before


# --- One thread at a time -------------------------------------------------------------------


def test_after_a_fork_the_guard_is_free_and_an_older_block_still_ends() -> None:
    guard = ProcessGuard()
    with guard.hold() as is_acquired:
        guard.reset_after_fork()
        assert is_acquired
        assert guard.hold().acquire(blocking=False)
        guard.hold().release()
    assert not guard.hold().locked()
