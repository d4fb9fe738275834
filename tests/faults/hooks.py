"""Prepare a process of a session for a kill test: its limits, its moments, its helper processes.

The zygote does it in the program, and ``in_worker`` does it in the worker process of
``isolation="process"``. There the package is not imported, so this module imports parts of it only.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import points
from points import Moment

from asynclive._fs import atomic_rename
from asynclive._ingest import batch_processes
from asynclive._isolation import start_worker, worker_main
from asynclive._stage import stage_job

# Far more than the tasks of a worker need to see that their program is dead.
_SECONDS = 300
_HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Hooks:
    """What a process of the session changes in itself."""

    renameat2: bool
    process_files: int | None
    alive: str | None
    """A named pipe that each helper process writes to when it starts, and keeps open."""
    batch_target: Moment | None

    def install(self) -> None:
        if not self.renameat2:
            atomic_rename._renameat2 = None
        elif atomic_rename._renameat2 is not None:
            atomic_rename._renameat2 = points.around("renameat2", atomic_rename._renameat2)
        if self.process_files is not None:
            stage_job.PROCESS_FILES = self.process_files
            stage_job.PROCESS_BATCH_FILES = 2
        if self.alive is not None:
            _follow_batch_processes(self.alive, self.batch_target)

    def install_in_worker(
        self, target: Moment | None, kills_all: bool, held: str | None = None
    ) -> None:
        """Let the worker processes that this process starts do the same.

        Args:
            target: the moment of the worker at which it kills; None: it kills nothing.
            kills_all: whether it kills all processes, or the program alone.
            held: a named pipe that the worker waits for after it has killed the program.
        """
        before, serve = start_worker._COMMAND.rsplit("serve()", 1)
        start_worker._COMMAND = _WORKER.format(
            path=_HERE,
            alive=self.alive or os.devnull,
            before=before,
            args=pickle.dumps((self, target, kills_all, held, os.getpid())),
            serve=f"serve(){serve}",
        )


def in_worker(args: bytes) -> None:
    """Install the hooks in a worker process, and arm its moment."""
    hooks, target, kills_all, held, program = pickle.loads(args)
    hooks.install()
    if target is not None:
        kill = partial(_kill_all, program) if kills_all else _ProgramKiller(program, held).kill
        points.arm(points.Armed(target, kill, dies=kills_all))


# The batch processes that this process has started.
_batch_pids: list[int] = []


def _follow_batch_processes(alive: str, target: Moment | None) -> None:
    """Make batch processes open the pipe and install moments; wait until each has started."""
    started = f"{alive}.{os.getpid()}"
    os.mkfifo(started)
    fd = os.open(started, os.O_RDWR)
    make = batch_processes._BatchProcess.__init__

    def make_and_wait(self: Any, *args: Any) -> None:
        make(self, *args)
        _batch_pids.append(self._process.pid)
        os.read(fd, 1)

    batch_processes._BatchProcess.__init__ = make_and_wait  # type: ignore[method-assign]
    batch_processes._COMMAND = _BATCH_PROCESS.format(
        path=_HERE,
        alive=alive,
        started=started,
        target=target,
        command=batch_processes._COMMAND,
    )


def _kill_all(program: int, doing: str) -> None:
    """Kill the program and the batch processes; this process dies next, with no pause for others.

    None of these calls gives the lock of the interpreter away, so no thread of this process acts in
    between.
    """
    for pid in (program, *_batch_pids):
        os.kill(pid, signal.SIGKILL)


class _ProgramKiller:
    """Kills the program, and holds the moment until the tasks of this worker know that."""

    def __init__(self, program: int, held: str | None) -> None:
        self._program = os.pidfd_open(program)
        self._held = held
        self._loop: asyncio.AbstractEventLoop | None = None
        run = worker_main._Worker.run

        async def run_in_known_loop(worker: Any, *args: Any) -> None:
            self._loop = asyncio.get_running_loop()
            await run(worker, *args)

        worker_main._Worker.run = run_in_known_loop  # type: ignore[method-assign]

    def kill(self, doing: str) -> None:
        from settling import settled

        points.arm(None)
        signal.pidfd_send_signal(self._program, signal.SIGKILL)
        assert select.select([self._program], [], [], _SECONDS)[0]
        assert self._loop is not None
        if threading.current_thread() is not threading.main_thread():
            asyncio.run_coroutine_threadsafe(settled(), self._loop).result(_SECONDS)
        if self._held is not None:
            with open(self._held):
                pass


# The first lines of a helper process. It keeps the pipe open until it ends. It opens the pipe
# without waiting for a reader, since the reader may be dead.
_ALIVE = """
import sys
sys.path.insert(0, {path!r})
import os, points
alive = os.open({alive!r}, os.O_WRONLY | os.O_NONBLOCK)
os.write(alive, b"+")
points.install()
"""

_BATCH_PROCESS = (
    _ALIVE
    + """
os.write(os.open({started!r}, os.O_WRONLY | os.O_NONBLOCK), b"+")
sys.stdout = open(1, "w")  # a file with moments
points.arm(points.Armed({target!r}, lambda doing: os.write(alive, b"-")))
{command}
"""
)

_WORKER = (
    _ALIVE
    + """
{before}
sys.path[:0] = [{path!r}, os.path.dirname({path!r})]
import hooks
hooks.in_worker({args!r})
{serve}
"""
)
