"""Train until SIGTERM, then log as many checkpoints as the remaining time permits.

    python examples/preempted.py               # in a Git repository with DVC
    kill -TERM <the process id it prints>

Clouds and schedulers send SIGTERM some seconds before they take the machine away. The training
then stops. ``drain`` accepts no new artifacts, finishes as many as it can, cancels the rest, and
returns the result of each. Needs POSIX signals; runs on asyncio and trio.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import anyio

from asynclive import AsyncLive

CHECKPOINT = Path("preempted.ckpt")


async def train(live: AsyncLive, stop: anyio.Event) -> None:
    """Train until ``stop`` is set, and end after a complete step."""
    step = 0
    while not stop.is_set():
        step += 1
        await anyio.sleep(0.02)  # stands for a step
        if step % 10 == 0:
            await anyio.Path(CHECKPOINT).write_bytes(os.urandom(1_000_000))
            await live.submit(CHECKPOINT, type="model", meta={"step": step})
            print(f"step {step}", flush=True)


async def main(notice_seconds: float) -> None:
    print(f"process {os.getpid()}", flush=True)
    stop = anyio.Event()
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with AsyncLive() as live:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(train, live, stop)
                async for _ in signals:
                    stop.set()
                    break
            drained = await live.drain(notice_seconds)
    for logged in drained.logged:
        print(f"logged at the end: {logged.meta}")
    for each in drained.not_logged:
        print(f"not logged: {each.error}")
    print(f"{live.statistics().logged} logged in total", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--notice", type=float, default=25, help="seconds from SIGTERM to the end")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    args = parser.parse_args()
    anyio.run(main, args.notice, backend=args.backend)
