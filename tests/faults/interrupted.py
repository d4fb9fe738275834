"""A program that logs one artifact and is interrupted while one of its threads waits at a gate.

Run as ``python interrupted.py PROGRAM STAGE REPOSITORY``. The program prints ``at the gate`` when
the thread arrives there. The gate opens once the call has been cancelled. At the end the program
prints how it ended, and how many threads of asynclive are still working. With
``isolation="process"`` the thread is in the worker process, which prints these lines too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import anyio
import sniffio
from gated_stage import at_work, prepare, print_line

from asynclive import AsyncLive
from asynclive._isolation import start_worker


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


def prepare_worker(stage: str) -> None:
    """Let the worker process prepare, and print what this program prints."""
    before, serve = start_worker._COMMAND.rsplit("serve()", 1)
    code = f"gated_stage.prepare_worker({stage!r}, {os.getpid()})"
    start_worker._COMMAND = f"{before}\nimport gated_stage\n{code}\nserve(){serve}"


def main(program: str, stage: str, repo: str) -> None:
    if os.environ["ASYNCLIVE_ISOLATION"] == "process":
        prepare_worker(stage)
    else:
        prepare(stage)
    try:
        PROGRAMS[program](repo)
    except BaseException as error:
        print_line(type(error).__name__)
    print_line(str(len(at_work)))


if __name__ == "__main__":
    main(*sys.argv[1:])
