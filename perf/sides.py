"""The ways to log that are compared. Each does the same calls, in the repository it runs in.

A side opens what it needs, then does its work inside ``with clock``: what is measured is
from the first call to the point where everything is on disk as that side leaves it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from workloads import KIB, Call

Clock = AbstractContextManager[Any]
Side = Callable[[list[Call], Clock], None]

_FLOOR_THREADS = 2
# Ext4 takes writes of 1 MiB in large folios, whose making cost three times the system time here.
_CHUNK_BYTES = 256 * KIB
_BATCH = 64  # files a hop, so that handing over work is no part of the floor


def dvclive(calls: list[Call], clock: Clock) -> None:
    """One call after the other, as DVCLive is used today."""
    from dvclive import Live

    live = Live(dir="dvclive", dvcyaml="dvc.yaml", save_dvc_exp=False)
    with clock:
        for call in calls:
            live.log_artifact(call.path, **call.options)
        live.end()  # writes dvc.yaml


def naive(calls: list[Call], clock: Clock) -> None:
    """DVCLive in threads behind one lock: async code as written in ten minutes."""
    from dvclive import Live

    live = Live(dir="dvclive", dvcyaml="dvc.yaml", save_dvc_exp=False)

    async def main() -> None:
        lock = asyncio.Lock()

        async def log(call: Call) -> None:
            async with lock:
                await asyncio.to_thread(live.log_artifact, call.path, **call.options)

        with clock:
            await asyncio.gather(*map(log, calls))
            await asyncio.to_thread(live.end)

    asyncio.run(main())


def asynclive(calls: list[Call], clock: Clock) -> None:
    """All calls gathered."""
    from asynclive import AsyncLive

    async def main() -> None:
        async with AsyncLive() as live:
            with clock:
                await asyncio.gather(
                    *(live.log_artifact(call.path, **call.options) for call in calls)
                )

    asyncio.run(main())


def floor(calls: list[Call], clock: Clock) -> None:
    """The bytes alone: each file hashed once, one cache object, one workspace copy.

    Nothing is recorded, so this is no way to log; it is what no logger of MD5s can beat by
    much. The hash comes from the bytes as they are written.
    """
    cache = Path(".dvc/cache/files/md5")
    for index in range(256):
        (cache / f"{index:02x}").mkdir(parents=True, exist_ok=True)

    with clock, ThreadPoolExecutor(_FLOOR_THREADS) as pool:
        pairs: list[tuple[str, str | None]] = []
        for call in calls:
            copies = Path("dvclive/artifacts") if call.options.get("copy") else None
            if call.path.is_dir():
                for folder, _, names in os.walk(call.path):
                    to = copies and copies / os.path.relpath(folder, call.path.parent)
                    if to:
                        to.mkdir(parents=True, exist_ok=True)
                    pairs += [
                        (os.path.join(folder, name), to and os.path.join(to, name))
                        for name in names
                    ]
            else:
                if copies:
                    copies.mkdir(parents=True, exist_ok=True)
                pairs.append((str(call.path), copies and os.path.join(copies, call.path.name)))
        size = _BATCH if len(pairs) > _BATCH * _FLOOR_THREADS else 1
        batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
        for _ in pool.map(lambda batch: _move(batch, str(cache)), batches):
            pass


def _move(pairs: list[tuple[str, str | None]], cache: str) -> None:
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for source, destination in pairs:
        temp = os.path.join(cache, os.urandom(8).hex())
        md5 = hashlib.md5(usedforsecurity=False)
        reader = os.open(source, os.O_RDONLY)
        writers = [os.open(path, create) for path in (temp, destination) if path is not None]
        while n := os.readv(reader, [buffer]):
            md5.update(view[:n])
            for writer in writers:
                os.write(writer, view[:n])
        for fd in (reader, *writers):
            os.close(fd)
        digest = md5.hexdigest()
        os.rename(temp, os.path.join(cache, digest[:2], digest[2:]))


SIDES: dict[str, Side] = {
    "dvclive": dvclive,
    "naive": naive,
    "asynclive": asynclive,
    "floor": floor,
}
