"""Hold a thread at a stage until its call has been cancelled, and count the threads at work.

For the process that has the threads: a program, or its worker process. There the package is not
imported, so this module imports parts of it only.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import anyio
import anyio.to_thread

import asynclive._ingest.copy_and_hash
import asynclive._stage.source
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._engine.local_engine import LocalEngine

STAGES: dict[str, tuple[Any, str]] = {
    "look": (asynclive._stage.source, "make_plan"),
    "copy": (asynclive._ingest.copy_and_hash.LargeFile, "_copy_step"),
    "hash": (asynclive._ingest.copy_and_hash.LargeFile, "_hash_step"),
    "lock": (DvcRepository, "acquire"),
    "commit": (DvcRepository, "commit"),
}

cancelled = threading.Event()
at_work: list[int] = []


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def hold_at_gate(owner: Any, name: str) -> None:
    real = getattr(owner, name)

    def wait_then_call(*args: Any) -> Any:
        if not cancelled.is_set():
            print_line("at the gate")
            cancelled.wait()
        return real(*args)

    setattr(owner, name, wait_then_call)


def prepare(stage: str) -> None:
    hold_at_gate(*STAGES[stage])
    work_on, run_sync = LocalEngine._work_on, anyio.to_thread.run_sync

    async def work_on_with_gate(self: LocalEngine, call: Any, scope: anyio.CancelScope) -> None:
        def cancel_and_open_gate() -> None:
            scope.cancel()
            cancelled.set()

        async def open_gate_when_cancelled() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()

        call.bind_work(cancel_and_open_gate)
        async with anyio.create_task_group() as watching:
            watching.start_soon(open_gate_when_cancelled)
            await work_on(self, call, scope)
            watching.cancel_scope.cancel()

    async def run_sync_counted(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        def counted(*args: Any) -> Any:
            at_work.append(1)
            try:
                return func(*args)
            finally:
                at_work.pop()

        return await run_sync(counted, *args, **options)

    LocalEngine._work_on = work_on_with_gate  # type: ignore[method-assign]
    anyio.to_thread.run_sync = run_sync_counted  # type: ignore[assignment]


def prepare_worker(stage: str, program: int) -> None:
    """Prepare a worker process; print to the standard output of the program.

    The worker prints the number of threads at work when it ends.
    """
    sys.stdout = open(f"/proc/{program}/fd/1", "w")  # noqa: SIM115  # open as long as the worker
    end = os._exit

    def print_and_end(status: int) -> NoReturn:
        print_line(str(len(at_work)))
        end(status)

    os._exit = print_and_end  # the last call of a worker
    prepare(stage)
