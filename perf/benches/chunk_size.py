"""Which chunk size is the fastest to hash a file and write two copies of it?

    python -m perf chunk_size
    python -m perf chunk_size --runs 3 --dir DIR

Two threads take four files of 256 MiB, as a logger on two cores has to. ``hash`` is the MD5 alone:
nothing can be faster. The result is why the copy loop of asynclive reads 256 KiB at a time.
"""

from __future__ import annotations

import hashlib
import os
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

from perf.harness.bench import Bench, Job
from perf.harness.clock import PrewarmedClock
from perf.harness.ratios import spread
from perf.harness.turns import Run, take_turns
from perf.harness.units import GIB, KIB, MIB
from perf.harness.work_dir import runs_dir

FILES = 4
FILE_BYTES = 256 * MIB
CHUNKS = (64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 4 * MIB)
# The bytes of a chunk, and the number of copies.
SIDES = {"hash": (MIB, 0), **{f"{chunk // KIB} KiB": (chunk, 2) for chunk in CHUNKS}}


class ChunkSize(Bench):
    name = "chunk_size"
    sides = tuple(SIDES)
    short_pairs = 1
    short_scale = 0.25

    def space_bytes(self, args: Namespace, result: str) -> int:
        return int(3 * FILES * FILE_BYTES * args.scale)

    def run(self, job: Job) -> dict[str, Any]:
        file_bytes = int(FILE_BYTES * job.scale)
        with runs_dir(job.work_dir) as where:
            sources = [where / f"{number}.bin" for number in range(FILES)]
            for source in sources:
                source.write_bytes(os.urandom(file_bytes))

            def run(side: str) -> Run:
                chunk_bytes, copies = SIDES[side]
                prewarm_bytes = int((copies * FILES * FILE_BYTES + GIB) * job.scale)
                return {"seconds": _seconds(sources, prewarm_bytes, chunk_bytes, copies)}

            runs = take_turns(self.sides, job.pairs, run, _describe)
        return {
            "scale": job.scale,
            "pairs": job.pairs,
            "files": FILES,
            "file_bytes": file_bytes,
            "sides": {
                side: {
                    "chunk_bytes": SIDES[side][0],
                    "copies": SIDES[side][1],
                    "seconds": spread([run["seconds"] for run in each]),
                }
                for side, each in runs.items()
            },
        }

    def summary(self, document: dict[str, Any]) -> str:
        return "\n".join(
            f"{side:<9} {each['seconds']['median']:.2f} s  "
            f"({each['seconds']['min']:.2f} to {each['seconds']['max']:.2f})"
            for side, each in document["sides"].items()
        )


def _seconds(sources: list[Path], prewarm_bytes: int, chunk_bytes: int, copies: int) -> float:
    """Hash all sources in two threads, write copies of each, and return the seconds."""
    waiting = list(sources)

    def work() -> None:
        while waiting:
            source = waiting.pop()
            targets = [source.with_suffix(f".{number}") for number in range(copies)]
            _hash_and_write(source, chunk_bytes, targets)

    threads = [threading.Thread(target=work) for _ in range(2)]
    with PrewarmedClock(prewarm_bytes) as clock:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for source in sources:
        for number in range(copies):
            source.with_suffix(f".{number}").unlink()
    os.sync()
    return clock.seconds


def _hash_and_write(source: Path, chunk_bytes: int, targets: list[Path]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(chunk_bytes))
    with source.open("rb", buffering=0) as reader:
        writers = [target.open("wb", buffering=0) for target in targets]
        while count := reader.readinto(buffer):
            md5.update(buffer[:count])
            for writer in writers:
                writer.write(buffer[:count])
        for writer in writers:
            writer.close()


def _describe(side: str, run: Run) -> str:
    return f"{side:<9} {run['seconds']:.2f} s"


BENCH = ChunkSize()
