"""The floor: hash each file once, write one cache object, and one workspace copy with ``copy``.

It records nothing, so it is no way to log. No logger of MD5s can be much faster. Two threads work:

- Small files: a thread takes a batch, reads each file whole, and writes it under its final name.
- Large files: each thread takes the next file. The kernel copies each chunk (``copy_file_range``)
  that the thread hashes, while the chunk is in the core's own cache. In a comparison of the two,
  writing the chunk from Python took twice the system time.
- A single large file: its one MD5 cannot be split. One thread hashes it, while the other makes the
  cache object and the copy.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from perf.harness.units import KIB, MIB
from perf.harness.workload import Call, Clock, Side

THREADS = 2
_CACHE = ".dvc/cache/files/md5"
# With writes of 1 MiB, ext4 makes large folios. That cost three times the system time.
_CHUNK_BYTES = 256 * KIB
_BATCH_FILES = 64  # so many at once that handing over work costs next to nothing
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

Pair = tuple[str, "str | None", int]
"""A source, the path of its copy or None, its size."""


def log_nothing(calls: list[Call], clock: Clock) -> None:
    """Move the bytes of all calls into the cache of the working directory, and record nothing."""
    for index in range(256):
        os.makedirs(f"{_CACHE}/{index:02x}", exist_ok=True)
    with clock:
        _move(calls)


def _move(calls: list[Call]) -> None:
    pairs = [pair for call in calls for pair in _pairs(call)]
    large = [pair for pair in pairs if pair[2] > MIB]
    small = [pair for pair in pairs if pair[2] <= MIB]
    jobs: list[Callable[[], object]] = []
    with ThreadPoolExecutor(THREADS) as pool:
        if len(large) < THREADS:
            for pair in large:
                temp = _temp()
                copies = [path for path in (temp, pair[1]) if path]
                written = pool.submit(_pass, pair[0], copies, hashing=False)
                jobs.append(partial(_hash_then_publish, pair[0], temp, written.result))
        else:
            jobs += [partial(_move_large, pair) for pair in large]
        jobs += [
            partial(_move_small, small[start : start + _BATCH_FILES])
            for start in range(0, len(small), _BATCH_FILES)
        ]
        for future in [pool.submit(job) for job in jobs]:
            future.result()


def _pairs(call: Call) -> list[Pair]:
    copies = "dvclive/artifacts" if call.options.get("copy") else None
    if copies:
        os.makedirs(copies, exist_ok=True)
    if not call.path.is_dir():
        target = copies and f"{copies}/{call.path.name}"
        return [(str(call.path), target, call.path.stat().st_size)]
    pairs: list[Pair] = []
    for folder, _, names in os.walk(call.path):
        to = copies and f"{copies}/{Path(folder).relative_to(call.path.parent)}"
        if to:
            os.mkdir(to)
        for name in names:
            path = f"{folder}/{name}"
            pairs.append((path, to and f"{to}/{name}", os.stat(path).st_size))
    return pairs


def _move_small(pairs: list[Pair]) -> None:
    for source, target, size in pairs:
        fd = os.open(source, os.O_RDONLY)
        data = os.read(fd, size + 1)
        os.close(fd)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        for path in (_object(md5), target):
            if path:
                fd = os.open(path, _WRITE)
                os.write(fd, data)
                os.close(fd)


def _move_large(pair: Pair) -> None:
    source, target, _ = pair
    temp = _temp()
    _publish(temp, _pass(source, [path for path in (temp, target) if path], hashing=True))


def _hash_then_publish(source: str, temp: str, wait_written: Callable[[], object]) -> None:
    md5 = _pass(source, [], hashing=True)
    wait_written()
    _publish(temp, md5)


def _pass(source: str, targets: list[str], *, hashing: bool) -> str:
    """Read a file once, to hash it, to write it to ``targets``, or both. Return the hash."""
    md5 = hashlib.md5(usedforsecurity=False)
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    reader = os.open(source, os.O_RDONLY)
    writers = [os.open(path, _WRITE) for path in targets]
    size, offset = os.fstat(reader).st_size, 0
    while offset < size:
        count = min(_CHUNK_BYTES, size - offset)
        if hashing:
            count = os.preadv(reader, [view[:count]], offset)
            md5.update(view[:count])
        for writer in writers:
            _copy(reader, writer, offset, count)
        offset += count
    for fd in (reader, *writers):
        os.close(fd)
    return md5.hexdigest()


def _copy(reader: int, writer: int, offset: int, count: int) -> None:
    end = offset + count
    while offset < end:
        if not (copied := os.copy_file_range(reader, writer, end - offset, offset, offset)):
            raise OSError("the source shrank")
        offset += copied


def _temp() -> str:
    return f"{_CACHE}/{os.urandom(8).hex()}"


def _object(md5: str) -> str:
    return f"{_CACHE}/{md5[:2]}/{md5[2:]}"


def _publish(temp: str, md5: str) -> None:
    os.rename(temp, _object(md5))


FLOOR = Side("floor", log_nothing, is_dvc=False, cache=_CACHE)
