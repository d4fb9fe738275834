"""Make system calls fail in the worker threads as a disk makes them fail: one call, or each."""

from __future__ import annotations

import builtins
import errno
import itertools
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

import asynclive._workspace.apply_placement

_MODULES: dict[str, ModuleType] = {
    "exchange": asynclive._workspace.apply_placement,
    "builtins.open": builtins,
}

READS = ["open", "builtins.open", "read", "preadv", "stat", "lstat", "fstat", "scandir", "readlink"]
WRITES = [
    *("write", "copy_file_range", "mkdir", "rename", "replace", "link", "symlink", "exchange"),
    *("unlink", "rmdir", "chmod", "fchmod", "utime", "close"),
]
CALLS = [
    name
    for name in READS + WRITES
    if hasattr(_MODULES.get(name, os), name.removeprefix("builtins."))
]


class Fault:
    """An armed fault. It counts the calls that it sees, and records those that it makes fail."""

    def __init__(self, hits: Callable[[str, tuple[Any, ...]], bool], error: int) -> None:
        self.error = error
        self.calls: Counter[str] = Counter()
        self.failed_calls: list[str] = []
        self._hits = hits
        self._main = threading.main_thread()
        self._lock = threading.Lock()

    def fail_if_chosen(self, name: str, args: tuple[Any, ...]) -> None:
        """Raise if ``hits`` chooses this call. Calls in the main thread, the test's own, pass."""
        if threading.current_thread() is self._main:
            return
        with self._lock:
            self.calls[name] += 1
            if not self._hits(name, args):
                return
            path = next((arg for arg in args if isinstance(arg, str)), None)
            self.failed_calls.append(f"{name}({path or ''})")
        raise OSError(self.error, os.strerror(self.error), path)


@contextmanager
def failing(
    calls: list[str], error: int, hits: Callable[[str, tuple[Any, ...]], bool]
) -> Iterator[Fault]:
    """While the block runs, these calls raise ``error`` if ``hits(name, args)`` is true."""
    fault = Fault(hits, error)
    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            module, attribute = _MODULES.get(name, os), name.removeprefix("builtins.")
            real = getattr(module, attribute)
            fails = _failing(name, real, fault)
            patch.setattr(module, attribute, fails)
            for supporting in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
                if real in supporting:
                    supporting.add(fails)
        yield fault


def _failing(name: str, real: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    def fails(*args: Any, **kwargs: Any) -> Any:
        # As after a failed write-back: close() reports the error, but the descriptor is closed.
        if name == "close":
            real(*args, **kwargs)
            fault.fail_if_chosen(name, args)
            return None
        fault.fail_if_chosen(name, args)
        return real(*args, **kwargs)

    return fails


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count how often each call is made in the block."""
    with failing(CALLS, 0, lambda name, args: False) as fault:
        yield fault.calls


@contextmanager
def nth_failing(call: str, number: int, error: int) -> Iterator[Fault]:
    """Make one call of this kind fail, the one with this number; all others succeed."""
    numbers = itertools.count()
    with failing([call], error, lambda name, args: next(numbers) == number) as fault:
        yield fault


@contextmanager
def full(pattern: str) -> Iterator[Fault]:
    """Raise ENOSPC if a call writes to, creates or moves to a path that matches ``pattern``."""

    def hits(name: str, args: tuple[Any, ...]) -> bool:
        if name == "open" and not args[1] & os.O_CREAT:
            return False
        path = args[1] if name in _TARGET_IS_SECOND else args[0]
        if isinstance(path, int):
            path = _path_of(path)
        return re.search(pattern, os.fspath(path)) is not None

    calls = ["open", "write", "copy_file_range", "mkdir", "link", "symlink", "rename", "replace"]
    with failing([name for name in calls if name in CALLS], errno.ENOSPC, hits) as fault:
        yield fault


_TARGET_IS_SECOND = ("copy_file_range", "link", "symlink", "rename", "replace", "exchange")


def _path_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # not on Linux, or not a file
        return ""
