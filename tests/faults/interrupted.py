"""A program that logs one artifact and is interrupted while one of its threads waits at a gate.

Run as ``python interrupted.py PROGRAM STAGE REPOSITORY``. The program prints ``at the gate`` when
the thread arrives there. The gate opens once the call has been cancelled. At the end the program
prints how it ended, and how many threads of asynclive are still working.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import sniffio

import asynclive._api.async_live
import asynclive._ingest.copy_and_hash
import asynclive._stage.source
from asynclive import AsyncLive
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

        call.bind_work(cancel_and_open_gate)
        await work_on(self, call, scope)

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


async def log(repo: str) -> None:
    if sniffio.current_async_library() == "asyncio":
        # Once asyncio's loop has a signal handler, for any signal, every signal wakes the loop.
        # Without one, Python runs no handler for a signal that comes just before the loop waits
        # until another event wakes the loop. Here every other event waits for the gate.
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: None)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("artifact", type="model", copy=True)


async def log_until_sigterm(repo: str) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as task_group:

            async def wait_for_signal() -> None:
                with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                    async for _ in signals:
                        scope.cancel()

            task_group.start_soon(wait_for_signal)
            await log(repo)
            task_group.cancel_scope.cancel()
    if scope.cancelled_caught:
        raise SystemExit("stopped")


async def log_until_sigterm_cancels_the_task(repo: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await log(repo)


async def log_in_background(repo: str) -> None:
    task = asyncio.create_task(log(repo))
    await asyncio.Event().wait()
    await task


PROGRAMS: dict[str, Callable[[str], None]] = {
    "asyncio.run": lambda repo: asyncio.run(log(repo)),
    "asyncio.run-background": lambda repo: asyncio.run(log_in_background(repo)),
    "anyio.run-asyncio": lambda repo: anyio.run(log, repo, backend="asyncio"),
    "anyio.run-trio": lambda repo: anyio.run(log, repo, backend="trio"),
    "sigterm-task.cancel": lambda repo: asyncio.run(log_until_sigterm_cancels_the_task(repo)),
    "sigterm-asyncio": lambda repo: anyio.run(log_until_sigterm, repo, backend="asyncio"),
    "sigterm-trio": lambda repo: anyio.run(log_until_sigterm, repo, backend="trio"),
}


def main(program: str, stage: str, repo: str) -> None:
    prepare(stage)
    try:
        PROGRAMS[program](repo)
    except BaseException as error:
        print_line(type(error).__name__)
    print_line(str(len(at_work)))


if __name__ == "__main__":
    main(*sys.argv[1:])
