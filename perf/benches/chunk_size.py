"""Why the copy loop reads 256 KiB at a time: hash and write two copies, by chunk size.

    python perf/chunks.py [--dir DIR]

Two threads take four files of 256 MiB, as a logger on two cores has to. ``hash`` is
the MD5 alone, below which nothing can be.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import threading
from pathlib import Path

from perf.harness.workload_run import PrewarmedClock

FILES = 4
FILE_BYTES = 256 * 2**20
CHUNKS = (64 * 2**10, 128 * 2**10, 256 * 2**10, 512 * 2**10, 2**20, 4 * 2**20)


def hash_and_write(source: Path, chunk_bytes: int, targets: list[Path]) -> None:
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


def timed(sources: list[Path], chunk_bytes: int, copies: int) -> float:
    waiting = list(sources)

    def work() -> None:
        while waiting:
            source = waiting.pop()
            targets = [source.with_suffix(f".{number}") for number in range(copies)]
            hash_and_write(source, chunk_bytes, targets)

    threads = [threading.Thread(target=work) for _ in range(2)]
    with PrewarmedClock(copies * FILES * FILE_BYTES + 2**30) as clock:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for source in sources:
        for number in range(copies):
            source.with_suffix(f".{number}").unlink()
    os.sync()
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dir", type=Path, help="work there (default: a temporary directory)")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        sources = [Path(directory) / f"{number}.bin" for number in range(FILES)]
        for source in sources:
            source.write_bytes(os.urandom(FILE_BYTES))
        rows = [("hash", 2**20, 0)] + [("two copies", chunk, 2) for chunk in CHUNKS]
        for name, chunk, copies in rows:
            runs = [timed(sources, chunk, copies) for _ in range(options.runs)]
            median = statistics.median(runs)
            print(
                f"{name:10}  {chunk // 1024:5} KiB  {median:.2f} s  "
                f"({min(runs):.2f} to {max(runs):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
