"""The start of the worker process of ``AsyncLive(isolation="process")``. Blocking.

It is a fresh interpreter: nothing of the caller's is imported in it, so that a script needs no
guard around its main part, and a notebook or ``python -c`` no file.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import Any

from .._fs.file_io import write_all

# As for the processes that stage batches: in isolated mode, with the parent's path, and without
# the package's __init__. Who stops what runs in a terminal, or a service with all its processes,
# means the parent, which decides what becomes of the calls in flight.
_COMMAND = """
import pickle, signal, sys, types
for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:], package_path = pickle.load(sys.stdin.buffer)
sys.modules["asynclive"] = types.ModuleType("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._isolation.worker_main import serve
serve()
"""


def start_worker(
    settings: dict[str, Any], level: int, environment: dict[str, str], count: int
) -> tuple[subprocess.Popen[bytes], list[socket.socket]]:
    """Start a worker; returns it, and the sockets to talk with it.

    Args:
        settings: the arguments of the ``AsyncLive`` there.
        level: from which on log records of asynclive are wanted.
        environment: its environment.
        count: of sockets.

    Raises:
        OSError: that is not possible.
    """
    ours: list[socket.socket] = []
    with ExitStack() as failed:
        theirs: list[socket.socket] = []
        with ExitStack() as started:
            for _ in range(count):
                our, their = socket.socketpair()
                ours.append(failed.enter_context(our))
                theirs.append(started.enter_context(their))
            process = subprocess.Popen(
                [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # the caller's own is for what he prints
                env=environment,
                start_new_session=True,  # Ctrl-C is the parent's to handle
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                pass_fds=() if os.name == "nt" else [their.fileno() for their in theirs],
            )
            addresses: list[int | bytes] = [their.fileno() for their in theirs]
            if sys.platform == "win32":  # there they are handed to a process that has begun
                addresses = [their.share(process.pid) for their in theirs]
            told = [
                (sys.path, [os.path.dirname(os.path.dirname(__file__))]),
                (os.getpid(), addresses, settings, level),
            ]
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin:  # it has ended: its socket says so too
                write_all(process.stdin.fileno(), b"".join(map(pickle.dumps, told)))
        failed.pop_all()
    return process, ours


def ended_how(status: int) -> str:
    """How a process has ended, for a message."""
    if status >= 0:
        return f"ended with status {status}; what it had to say is on stderr"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
