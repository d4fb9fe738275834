"""A program that imports DVC in several ways, and prints their effects on the process as JSON.

``test_process_guard.py`` runs it in a DVC repository. Each scenario starts without DVC: the modules
of DVC are imported anew. Only the first one also imports the libraries below DVC, so it is the one
that imports the most.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import locale
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from asynclive._dvc.process_guard import preserve_process_settings

Facts = dict[str, Any]

UNTOUCHED = [logging.NOTSET, [], [], True, False]
OF_DVC = ("dvc", "dvc_data", "dvc_objects", "colorama")


def process_state() -> Facts:
    """Return everything of the process that a library could change unasked."""
    state: Facts = {}
    for name, logger in [("root", logging.root), *logging.root.manager.loggerDict.items()]:
        if isinstance(logger, logging.Logger):
            handlers = [each for each in logger.handlers if type(each) is not logging.NullHandler]
            filters, propagate = list(logger.filters), logger.propagate
            state[f"logger {name}"] = [logger.level, handlers, filters, propagate, logger.disabled]
    umask = os.umask(0)
    os.umask(umask)
    state |= {
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
    }
    return state


def changes_since(before: Facts) -> list[str]:
    """Return the names of the facts that differ now; a new logger differs if it was touched."""
    return sorted(
        name
        for name, value in process_state().items()
        if value != before.get(name, UNTOUCHED if name.startswith("logger") else None)
    )


def open_asynclives_repository() -> Facts:
    from asynclive._dvc.repository.dvc_repository import DvcRepository

    before = process_state()
    DvcRepository.open(os.getcwd()).close()
    return {"changed": changes_since(before)}


def open_dvcs_repository() -> Facts:
    before = process_state()
    with preserve_process_settings():
        from dvc.repo import Repo

        Repo().close()
    return {"changed": changes_since(before)}


def import_with_a_closed_stream() -> Facts:
    sys.stderr = closed = io.StringIO()
    closed.close()
    with preserve_process_settings():
        import_module("dvc.repo")
    is_kept, sys.stderr = sys.stderr is closed, sys.__stderr__
    return {"stream is kept": is_kept}


def import_without_the_guard() -> Facts:
    before = process_state()
    import_module("dvc.repo")
    return {"changed": changes_since(before)}


def import_after_the_application_has_set_up_logging() -> Facts:
    handler = logging.StreamHandler(sys.stdout)
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    for name in ("dvc", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addHandler(handler)
    before = process_state()
    with preserve_process_settings():
        import_module("dvc.repo")
    changed = changes_since(before)
    logging.getLogger("asyncio").info("once by its own handler and once by that of the root")
    return {"changed": changed}


def log_after_the_block() -> Facts:
    with preserve_process_settings():
        import_module("dvc.repo")
    for name in ("dvc", "dvc.repo", "dvc_data", "dvc_objects"):
        logging.getLogger(name).info("a hint for the terminal")
    return {}


def import_after_the_application_has() -> Facts:
    import_module("dvc.repo")
    before = process_state()
    with preserve_process_settings():
        import_module("dvc.repo")
    return {
        "changed": changes_since(before),
        "DVC has handlers": bool(logging.getLogger("dvc").handlers),
    }


def import_that_fails() -> Facts:
    before = process_state()
    with contextlib.suppress(ImportError), preserve_process_settings():
        import_module("dvc.repo")

        raise ImportError
    return {"changed": changes_since(before)}


SCENARIOS: tuple[Callable[[], Facts], ...] = (
    open_asynclives_repository,
    open_dvcs_repository,
    import_with_a_closed_stream,
    import_without_the_guard,
    import_after_the_application_has_set_up_logging,
    log_after_the_block,
    import_after_the_application_has,
    import_that_fails,
)


@contextlib.contextmanager
def captured(number: int) -> Iterator[Callable[[], str]]:
    """Collect the bytes written to a standard stream, through any Python object or none."""
    original = os.dup(number)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), number)

        def text() -> str:
            for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
            file.seek(0)
            return file.read()

        try:
            yield text
        finally:
            os.dup2(original, number)
            os.close(original)


def forget_dvc() -> None:
    """Make the process as if DVC had not been imported."""
    for name in list(sys.modules):
        if name.split(".")[0] in OF_DVC:
            del sys.modules[name]
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    logging.root.setLevel(logging.WARNING)
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.filters.clear()
            logger.propagate, logger.disabled = True, False
            if logger is not logging.root:
                logger.setLevel(logging.NOTSET)


def main() -> None:
    report: dict[str, Facts] = {}
    for scenario in SCENARIOS:
        with captured(1) as stdout, captured(2) as stderr:
            facts = scenario()
            report[scenario.__name__] = {**facts, "stdout": stdout(), "stderr": stderr()}
            forget_dvc()
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
