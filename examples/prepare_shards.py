"""Prepare a data set in shards, and log each shard as soon as it is complete.

    python examples/prepare_shards.py          # in a Git repository with DVC

Producers make shards in threads, and a consumer logs them. The number of waiting shards is
limited: the stream between them holds two, and AsyncLive accepts four at a time. If the disk is
slower than the producers, ``submit`` waits, then the stream is full, and then the producers wait.
Runs on asyncio and, with ``--backend trio``, on trio.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from asynclive import ArtifactHandle, AsyncLive

SHARDS = Path("shards")
PRODUCERS = 3
WAITING_SHARDS = 2
SHARDS_IN_FLIGHT = 4


def make_shard(number: int, records: int) -> Path:
    """Make one shard. This stands for your tokenizer, decoder or resizer."""
    path = SHARDS / f"part-{number:04}.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for index in range(number * records, (number + 1) * records):
            file.write(json.dumps({"id": index, "square": index * index}) + "\n")
    return path


async def produce(
    numbers: ObjectReceiveStream[int], finished: ObjectSendStream[Path], records: int
) -> None:
    async with numbers, finished:
        async for number in numbers:
            await finished.send(await anyio.to_thread.run_sync(make_shard, number, records))


async def consume(live: AsyncLive, finished: ObjectReceiveStream[Path]) -> list[ArtifactHandle]:
    handles = []
    async with finished:
        async for path in finished:
            # Waits while four shards are in flight. This one is then hashed and committed in the
            # background, while the loop takes the next one.
            handle = await live.submit(path, type="dataset", meta={"source": "squares"})
            handles.append(handle)
    return handles


async def prepare(shards: int, records: int) -> None:
    # The stream has space for all numbers, so sending them never waits.
    give_number, numbers = anyio.create_memory_object_stream[int](shards)
    send, finished = anyio.create_memory_object_stream[Path](WAITING_SHARDS)
    async with give_number:
        for number in range(shards):
            give_number.send_nowait(number)
    async with AsyncLive(max_pending=SHARDS_IN_FLIGHT) as live:
        async with anyio.create_task_group() as tasks:
            for _ in range(PRODUCERS):
                tasks.start_soon(produce, numbers.clone(), send.clone(), records)
            numbers.close()
            send.close()  # each producer has a clone; when all are closed, the consumer ends
            handles = await consume(live, finished)
        for handle in handles:
            logged = await handle
            print(f"{logged.name}: {logged.size:,} bytes, {logged.md5}")
    done = live.statistics()
    print(f"{done.logged} shards of {done.bytes_staged:,} bytes, in {done.groups} commits")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--records", type=int, default=20_000, help="in each shard")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    args = parser.parse_args()
    anyio.run(prepare, args.shards, args.records, backend=args.backend)


if __name__ == "__main__":
    main()
