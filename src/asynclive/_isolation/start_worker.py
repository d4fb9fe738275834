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
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from .._fs.file_io import write_all
from .._fs.paths import import_path
from .._workers import helper_process
from .channel import LENGTH_BYTES
from .messages import Start

# The worker first says over the first socket that it runs, before its imports. It then takes the
# import path of the parent, and skips the __init__ of the package, as batch processes do.
_COMMAND = f"""
import pickle, socket, sys
socks = [
    socket.socket(fileno=end) if isinstance(end, int) else socket.fromshare(end)
    for end in pickle.load(sys.stdin.buffer)
]
def send(value):
    data = pickle.dumps(value)
    socks[0].sendall(len(data).to_bytes({LENGTH_BYTES}, "big") + data)
def read(count):
    data = b""
    while len(data) < count:
        data += socks[0].recv(count - len(data)) or sys.exit()  # the parent does not want it
    return data
def receive():
    return pickle.loads(read(int.from_bytes(read({LENGTH_BYTES}), "big")))
send(sys.implementation.cache_tag)
sys.path[:], package_path = receive()
sys.modules["asynclive"] = type(sys)("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._isolation import worker_main
def serve():
    worker_main.serve(socks, *receive())
serve()
"""


def start_worker(
    environment: dict[str, str], count: int
) -> tuple[subprocess.Popen[bytes], list[socket.socket]]:
    """Start a worker; return its process, and the sockets that are connected to it.

    Args:
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
                worker_ends.append(_above_standard(started.enter_context(worker_end), started))
            process = helper_process.start(
                _COMMAND,
                *("-X", f"utf8={sys.flags.utf8_mode}"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # stdout belongs to the application
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                pass_fds=() if os.name == "nt" else [end.fileno() for end in worker_ends],
            )
            addresses: list[int | bytes] = [end.fileno() for end in worker_ends]
            if sys.platform == "win32":  # Windows shares sockets with a running process
                addresses = [end.share(process.pid) for end in worker_ends]
            assert process.stdin is not None
            # Fits into any pipe, whether the program reads it or not. If it has ended, the sockets
            # report that.
            with suppress(BrokenPipeError), process.stdin:
                write_all(process.stdin.fileno(), pickle.dumps(addresses))
        failed.pop_all()
    return process, parent_ends


def first_messages(start: Start) -> Sequence[object]:
    """Return the messages that a worker waits for once it runs."""
    return (
        (import_path(), [os.path.dirname(os.path.dirname(__file__))]),
        (os.getpid(), start),
    )


def _above_standard(sock: socket.socket, stack: ExitStack) -> socket.socket:
    """Return the socket with another descriptor than the standard ones, which Popen replaces.

    It has one of them if this process was started without its standard streams.
    """
    if sys.platform == "win32" or sock.fileno() > 2:
        return sock
    import fcntl

    return stack.enter_context(socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 3)))


def describe_end(status: int | None) -> str:
    """Return how a process ended, for a message; None: it was killed, and has not ended yet."""
    if status is None:
        return "did not end, so it was killed"
    if status >= 0:
        return f"ended with status {status}; its own messages are on stderr"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
