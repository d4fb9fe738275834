"""Threads of FileWorkers that tests hold, queue for and count."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from functools import partial

import anyio
import anyio.abc
import anyio.from_thread
from cancelling import settled

from asynclive._workers.file_workers import FileWorkers

TIMEOUT = 60  # seconds after which a gate that is not opened fails the test


class Gate:
    """Holds the thread that calls it, until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = anyio.Event()

    def __call__(self) -> str:
        anyio.from_thread.run_sync(self.reached.set)
        assert self._open.wait(TIMEOUT)
        return "passed"

    def open(self) -> None:
        self._open.set()


@contextlib.asynccontextmanager
async def held(workers: FileWorkers, *, bulk: bool = False) -> AsyncIterator[Gate]:
    """Keep one of the threads busy until the gate opens, at the latest at the end of the block."""
    gate = Gate()
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(partial(workers.run, gate, bulk=bulk))
        await gate.reached.wait()
        try:
            yield gate
        finally:
            gate.open()


async def queue(
    task_group: anyio.abc.TaskGroup, workers: FileWorkers, names: str, ran: list[str]
) -> None:
    """For each letter, queue a job that adds it to ``ran``; a capital is a bulk job."""
    for name in names:
        task_group.start_soon(partial(workers.run, partial(ran.append, name), bulk=name.isupper()))
        await settled()


async def assert_all_free(workers: FileWorkers) -> None:
    """Assert that all threads can be used at once, so none is lost, and that no task waits."""
    for bulk, threads in ((False, workers.workers), (True, max(1, workers.workers - 1))):
        together = threading.Barrier(threads)
        async with anyio.create_task_group() as task_group:
            for _ in range(2 * threads):
                job = partial(together.wait, TIMEOUT)
                task_group.start_soon(partial(workers.run, job, bulk=bulk))
