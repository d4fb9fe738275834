"""Starts the worker process of ``AsyncLive(isolation="process")``. Blocks.

The worker is a fresh interpreter, which imports nothing of the caller's. So a script needs no guard
around its main part, and a notebook or ``python -c`` needs no file.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

from .._fs.file_io import write_all
from .messages import Start

# Isolated mode (-I): the working directory and the environment add no imports. The worker takes
# the import path of the parent, and skips the __init__ of the package, as batch processes do. It
# ignores the signals that stop a terminal job or a service: the parent gets them too, and decides
# what happens to the calls in flight.
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
    start: Start, environment: dict[str, str], count: int
) -> tuple[subprocess.Popen[bytes], list[socket.socket]]:
    """Start a worker; return its process, and the sockets that are connected to it.

    Args:
        start: the session that the worker builds.
        environment: the environment of the worker.
        count: the number of sockets.

    Raises:
        OSError: the process or a socket cannot be made.
    """
    parent_ends: list[socket.socket] = []
    with ExitStack() as failed:
        worker_ends: list[socket.socket] = []
        with ExitStack() as started:
            for _ in range(count):
                parent_end, worker_end = socket.socketpair()
                parent_ends.append(failed.enter_context(parent_end))
                worker_ends.append(started.enter_context(worker_end))
            process = subprocess.Popen(
                [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # stdout belongs to the application
                env=environment,
                start_new_session=True,  # the parent handles Ctrl-C
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                pass_fds=() if os.name == "nt" else [end.fileno() for end in worker_ends],
            )
            addresses: list[int | bytes] = [end.fileno() for end in worker_ends]
            if sys.platform == "win32":  # Windows shares sockets with a running process
                addresses = [end.share(process.pid) for end in worker_ends]
            parts = [
                (sys.path, [os.path.dirname(os.path.dirname(__file__))]),
                (os.getpid(), addresses, start),
            ]
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin:  # the sockets report that it ended
                write_all(process.stdin.fileno(), b"".join(map(pickle.dumps, parts)))
        failed.pop_all()
    return process, parent_ends


def describe_end(status: int) -> str:
    """Return how a process ended, for a message."""
    if status >= 0:
        return f"ended with status {status}; its own messages are on stderr"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
