"""Run many processes that log into one repository at once, and list what each of them logs.

Run as a script, this module imports everything once and forks. If each process imported everything
itself, the test would spend its time on imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ArtifactSpec:
    """An artifact: the path that it is logged from, its content, and how it is logged."""

    source: str
    tracked: str
    texts: dict[str, str]
    """Text by path below the source; for a file, the key is empty."""
    name: str | None
    copy: bool


def artifacts(process: int, count: int, outside: Path | None = None) -> list[ArtifactSpec]:
    """Return files and directories, in place and copied, with and without an entry, in turn.

    Args:
        outside: put the sources there and copy all of them: ``git add --all`` would take a source
            in the repository before it is tracked.
    """
    found = []
    for index in range(count):
        stem = f"p{process:02}-{index:03}"
        isdir, copy, annotated = index % 4 == 1, index % 3 == 0, index % 5 != 4
        # Half of them are in one directory, so that every process writes the same .gitignore.
        source = f"{'all' if index % 2 else f'p{process:02}'}/{stem}"
        if outside is not None:
            source, copy = str(outside / source), True
        texts = {"a": f"{stem} a", "sub/b": "the same in all"} if isdir else {"": f"{stem} text"}
        tracked = f"dvclive/artifacts/{stem}" if copy else source
        found.append(ArtifactSpec(source, tracked, texts, stem if annotated else None, copy))
    return found


def make(repo: Path, specs: list[ArtifactSpec]) -> None:
    for spec in specs:
        for below, text in spec.texts.items():
            path = repo / spec.source / below
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@contextmanager
def crowd(
    repo: Path, processes: int, count: int, outside: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start processes that log ``count`` artifacts each; they begin when the block does."""
    with subprocess.Popen(
        [sys.executable, __file__, str(repo), str(processes), str(count)]
        + ([] if outside is None else [str(outside)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as zygote:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        for _ in range(processes):
            assert zygote.stdout.readline() == b"ready\n"
        zygote.stdin.write(b"\n" * processes)
        zygote.stdin.flush()
        yield zygote


def failures(zygote: subprocess.Popen[bytes]) -> list[str]:
    """Wait for all processes; return the calls that failed."""
    assert zygote.stdout is not None
    reports = [json.loads(line) for line in zygote.stdout]
    assert zygote.wait() == 0
    return [failure for report in reports for failure in report]


def main() -> None:
    repo, processes, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    outside = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    import dvc.repo  # noqa: F401
    import trio  # noqa: F401

    import asynclive._dvc.repository.dvc_repository  # noqa: F401

    children = []
    for process in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _send(_log_all(repo, process, artifacts(process, count, outside)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(codes))


def _log_all(repo: Path, process: int, specs: list[ArtifactSpec]) -> list[str]:
    import anyio

    # The two event loops in turn.
    return anyio.run(_log, repo, process, specs, backend=("asyncio", "trio")[process % 2])


async def _log(repo: Path, process: int, specs: list[ArtifactSpec]) -> list[str]:
    """Log half of them at once, then the rest one by one; every third process uses two objects."""
    import anyio

    from asynclive import AsyncLive

    failed: list[str] = []

    async def log(live: AsyncLive, spec: ArtifactSpec) -> None:
        type = "dataset" if spec.name else None
        try:
            await live.log_artifact(spec.source, name=spec.name, type=type, copy=spec.copy)
        except Exception as error:
            failed.append(f"{spec.source}: {error!r}")

    async with AsyncLive(root=repo) as first, AsyncLive(root=repo) as second:
        lives = (first, second) if process % 3 == 2 else (first, first)
        _wait_until_all_are_ready()
        half = len(specs) // 2
        async with anyio.create_task_group() as tasks:
            for index, spec in enumerate(specs[:half]):
                tasks.start_soon(log, lives[index % 2], spec)
        for index, spec in enumerate(specs[half:]):
            await log(lives[index % 2], spec)
    return failed[:5]  # limit: the report must fit into the pipe, which may have no reader yet


def _wait_until_all_are_ready() -> None:
    """Report ready, then wait for the others: each process takes one byte that the test writes."""
    os.write(1, b"ready\n")
    assert os.read(0, 1) == b"\n"


def _send(report: Any) -> None:
    # One write is atomic if it fits into the pipe, so reports of two processes do not mix.
    os.write(1, json.dumps(report).encode() + b"\n")


if __name__ == "__main__":
    main()
