"""Starts helper processes: Python interpreters that work for this process and end with it.

``sys.executable`` may be another program: one that embeds Python, a wrapper, or a leftover of an
environment that was removed. So a helper first says that it runs, before it imports much. The
process that started it waits for that with a limit.

A helper ignores the signals that a job gets as a whole, such as those of a batch system or a
container that stops. The process that started it handles them, and the helper ends after it.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .._errors import MORE_THREADS

if TYPE_CHECKING:
    import subprocess

# How long a program may take until it says that it runs (seconds). The interpreter reads only files
# that this process has just read from the same places. So they are in a cache even on a slow disk.
# ASYNCLIVE_START_TIMEOUT sets another limit.
START_SECONDS = 8.0
VARIABLE = "ASYNCLIVE_START_TIMEOUT"
# How long a process may take to end when it has nothing left to do, or when it is killed (seconds).
END_SECONDS = 10.0
KILL_SECONDS = 2.0

_TAG = str(sys.implementation.cache_tag)
# A helper gets values, and imports compiled modules, of this very version of Python.
_READY = b"asynclive runs in "

# Not ignored: signals that a process raises by its own fault, those of its own children, and
# those that nothing can ignore.
_KEPT = (
    *("SIGKILL", "SIGSTOP", "SIGCONT", "SIGCHLD"),
    *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"),
)
_IGNORED = sorted(
    signal.valid_signals() - {getattr(signal, name) for name in _KEPT if hasattr(signal, name)}
)
# ``_signal``, because ``signal`` imports more than a batch process does altogether.
_IGNORE_SIGNALS = f"""
import _signal, sys
sys.path[:] = filter(None, sys.path)
for number in {[*map(int, _IGNORED)]}:
    _signal.signal(number, _signal.SIG_IGN)
if hasattr(_signal, "pthread_sigmask"):
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {[*map(int, _IGNORED)]})
"""
# The first statement of a helper that says on standard output that it runs.
SAY_READY = f"""
import os, sys
os.write(1, b"{_READY.decode()}%s\\n" % sys.implementation.cache_tag.encode())
"""


class NotPythonError(Exception):
    """The program that should run a helper does not run as this Python. The message says why."""


def can_start() -> bool:
    """Return whether there is an interpreter to start; embedded and frozen Python has none."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def start_seconds() -> float:
    """Return how long a program may take until it says that it runs.

    Raises:
        ValueError: the value in the environment is not a positive number.
    """
    value = os.environ.get(VARIABLE)
    try:
        seconds = START_SECONDS if not value else float(value)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise ValueError(f"{VARIABLE} must be a positive number of seconds, not {value!r}")
    return seconds


def start(code: str, *options: str, **arguments: Any) -> subprocess.Popen[bytes]:
    """Start an interpreter that ignores the signals of a whole job, and runs ``code``.

    It imports nothing from the working directory, and nothing that the environment names.

    Args:
        code: begins with a sign that it runs, such as ``SAY_READY``.
        options: of the interpreter.
        arguments: of ``subprocess.Popen``.

    Raises:
        OSError: the process cannot be started.
    """
    import subprocess  # late: `import asynclive` imports this module

    # Without -I, an interpreter that finds its library by PYTHONHOME. ``-c`` then puts the working
    # directory into the path, and the code replaces that path.
    isolated = ["-s"] if os.environ.get("PYTHONHOME") else ["-I"]
    # Without a stderr of its own, this process may have opened any other file as descriptor 2.
    if sys.__stderr__ is None:
        arguments.setdefault("stderr", subprocess.DEVNULL)
    with _signals_blocked():
        return subprocess.Popen(
            [sys.executable, *isolated, *options, "-c", _IGNORE_SIGNALS + code],
            start_new_session=True,  # the parent handles Ctrl-C
            **arguments,
        )


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals in a process that starts in the block, until it ignores them itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Readiness:
    """Whether a process says on its standard output that it runs.

    Args:
        process: its code begins with ``SAY_READY``, and its standard output is a pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._started = time.monotonic()
        self._output = b""  # a wrapper of the interpreter may write something first
        self.is_ready = False

    def wait(self, seconds: float = math.inf) -> bool:
        """Return whether it runs; wait for that until ``seconds`` after its start, or its limit.

        Raises:
            NotPythonError: it has ended, is another version of Python, or reached its limit.
        """
        if self.is_ready:
            return True
        limit = start_seconds()
        until = self._started + min(seconds, limit)
        while not self.is_ready:
            if not _has_output(self._process, until - time.monotonic()):
                if time.monotonic() >= self._started + limit:
                    raise NotPythonError(not_answered())
                return False
            assert self._process.stdout is not None
            output = os.read(self._process.stdout.fileno(), 4096)
            if not output:
                raise NotPythonError(ended_early(end(self._process)))
            self._take(output)
        return True

    def _take(self, output: bytes) -> None:
        self._output += output
        _, found, rest = self._output.partition(_READY)
        tag, end, _ = rest.partition(b"\n")
        if found and end:
            check_tag(tag.decode(errors="replace"))
            self.is_ready = True
        elif not found:
            self._output = self._output[-len(_READY) :]


def _has_output(process: subprocess.Popen[bytes], seconds: float) -> bool:
    assert process.stdout is not None
    if os.name == "nt":  # cannot wait for a pipe with a limit: the read waits
        return True
    poll = select.poll()  # unlike select(), for any number of descriptor
    poll.register(process.stdout, select.POLLIN)
    return bool(poll.poll(max(0, seconds * 1000)))


def end(process: subprocess.Popen[bytes], seconds: float = END_SECONDS) -> int | None:
    """Wait for a process that should end now; kill it if it does not.

    Returns:
        its exit status; None: the system has not ended it yet, as it waits for a disk.
    """
    status = _wait(process, seconds)
    return kill(process) if status is None else status


def kill(process: subprocess.Popen[bytes]) -> int | None:
    """Kill a process; return as ``end`` does."""
    process.kill()
    return _wait(process, KILL_SECONDS)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    import subprocess

    if process.poll() is None and hasattr(os, "pidfd_open"):
        # ``Popen.wait`` looks from time to time, and so would return late.
        with suppress(OSError):
            fd = os.pidfd_open(process.pid)
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll(seconds * 1000)
                seconds = 0
            finally:
                os.close(fd)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def check_tag(tag: str) -> None:
    """Check that a helper runs the version of Python that this process runs.

    Raises:
        NotPythonError: it does not.
    """
    if tag != _TAG:
        raise NotPythonError(f"'{sys.executable}' is {tag}, and this program runs in {_TAG}")


def not_answered() -> str:
    """Return why a program that does not end is taken for no interpreter."""
    return (
        f"'{sys.executable}' did not run as Python within {start_seconds():g} s ({VARIABLE} sets "
        "another limit)"
    )


def ended_early(status: int | None) -> str:
    """Return why a program that has ended is taken for no interpreter."""
    return f"'{sys.executable}' ended with status {status} instead of running as Python"


def remedy(error: BaseException) -> str:
    """Return what to do about an error of starting a process or a thread, as a sentence."""
    number = getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE):
        return "Raise the limit on open files ('ulimit -n')."
    if number in (errno.EAGAIN, errno.ENOMEM):
        return MORE_THREADS
    return "Set sys.executable to the Python of this program, or pass isolation='thread'."
