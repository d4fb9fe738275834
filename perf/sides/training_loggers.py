"""The loggers of the bench ``training_stall``: each logs checkpoints in a loop on asyncio.

A logger is opened before the training starts. The loop waits for ``log``. ``finish`` comes after
the last step. ``stored`` then returns the files that hold the bytes of each checkpoint.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from perf.harness.training import Training
from perf.sides.dvclive import open_dvclive

OPTIONS: dict[str, Any] = {"type": "model", "name": "checkpoint"}
_CACHE = Path(".dvc/cache/files/md5")


class Logger(Protocol):
    """A way to log checkpoints in a training loop."""

    saves: bool
    """Whether the loop saves the checkpoint to the path before ``log``."""

    @property
    def in_flight(self) -> bool:
        """Whether a checkpoint is being logged."""
        ...

    async def log(self, path: Path, number: int) -> None:
        """Log checkpoint ``number``, or begin to."""
        ...

    async def finish(self) -> None:
        """Wait until all checkpoints are logged."""
        ...

    def stored(self) -> dict[int, list[Path]]:
        """Return the files with the bytes of each checkpoint, by its number."""
        ...


class NoLogger:
    """Log nothing. The loop saves its checkpoints all the same."""

    saves = True
    in_flight = False

    async def log(self, path: Path, number: int) -> None:
        pass

    async def finish(self) -> None:
        pass

    def stored(self) -> dict[int, list[Path]]:
        return {}


class Copier(NoLogger):
    """Keep a plain copy: the least that saving the bytes costs without a reflink."""

    def __init__(self) -> None:
        self._copies: dict[int, Path] = {}

    async def log(self, path: Path, number: int) -> None:
        copy = Path(f"copy-{number}")
        await asyncio.to_thread(_copy, path, copy)
        self._copies[number] = copy

    def stored(self) -> dict[int, list[Path]]:
        return {number: _files(copy) for number, copy in self._copies.items()}


class Submitter(NoLogger):
    """Call ``await live.submit(path)``."""

    def __init__(self, live: Any, **options: Any) -> None:
        self._live = live
        self._options = options
        self._handles: dict[int, Any] = {}
        self._md5: dict[int, str] = {}

    @property
    def in_flight(self) -> bool:
        return any(not handle.done for handle in self._handles.values())

    async def log(self, path: Path, number: int) -> None:
        self._handles[number] = await self._live.submit(path, **OPTIONS, **self._options)

    async def finish(self) -> None:
        for number, handle in self._handles.items():
            self._md5[number] = (await handle).md5

    def stored(self) -> dict[int, list[Path]]:
        return {number: _objects(md5) for number, md5 in self._md5.items()}


class DvcLive(NoLogger):
    """Call DVCLive in the loop."""

    def __init__(self) -> None:
        self._live = open_dvclive()
        self._md5: dict[int, str] = {}

    async def log(self, path: Path, number: int) -> None:
        self._log(path, number)

    def _log(self, path: Path, number: int) -> None:
        self._live.log_artifact(path, **OPTIONS)
        # The hash that DVC has recorded.
        found = re.search(r"md5: (\S+)", Path(f"{path}.dvc").read_text())
        assert found
        self._md5[number] = found[1]

    async def finish(self) -> None:
        await asyncio.to_thread(self._live.end)

    def stored(self) -> dict[int, list[Path]]:
        return {number: _objects(md5) for number, md5 in self._md5.items()}


class Naive(DvcLive):
    """Call DVCLive in a thread, behind a lock: code that takes ten minutes to write."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def in_flight(self) -> bool:
        return any(not task.done() for task in self._tasks)

    async def log(self, path: Path, number: int) -> None:
        self._tasks.append(asyncio.ensure_future(self._log_later(path, number)))
        await asyncio.sleep(0)  # so that it has begun

    async def _log_later(self, path: Path, number: int) -> None:
        async with self._lock:
            await asyncio.to_thread(self._log, path, number)

    async def finish(self) -> None:
        # A task that failed has logged nothing, and its checkpoint is judged as "none".
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().finish()


class DistributedCheckpoint(NoLogger):
    """Call PyTorch's ``async_save``: it copies the tensors in memory, and a thread writes them.

    It hashes and versions nothing. One save is in flight at a time, as its documentation asks.
    """

    saves = False

    def __init__(self, training: Any) -> None:
        self._training = training
        self._saving: Any = None
        self._directories: dict[int, Path] = {}

    @property
    def in_flight(self) -> bool:
        return self._saving is not None and not self._saving.done()

    async def log(self, path: Path, number: int) -> None:
        self._directories[number] = Path(f"dcp-{number}")
        await asyncio.to_thread(self._save, self._directories[number])

    def _save(self, directory: Path) -> None:
        from torch.distributed import checkpoint

        if self._saving is not None:
            self._saving.result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not distributed
            self._saving = checkpoint.async_save(
                self._training.state(), checkpoint_id=directory, no_dist=True
            )

    async def finish(self) -> None:
        await asyncio.to_thread(self._saving.result)

    def stored(self) -> dict[int, list[Path]]:
        return {number: _files(directory) for number, directory in self._directories.items()}


@asynccontextmanager
async def _submitting(
    training: Training, *, isolation: Literal["thread", "process"] | None = None, **options: Any
) -> AsyncIterator[Logger]:
    from asynclive import AsyncLive

    async with AsyncLive(isolation=isolation) as live:
        yield Submitter(live, **options)


@asynccontextmanager
async def _plain(training: Training, *, made: Callable[[], Logger]) -> AsyncIterator[Logger]:
    yield made()


@asynccontextmanager
async def _distributed(training: Training) -> AsyncIterator[Logger]:
    yield DistributedCheckpoint(training)


SIDES: dict[str, Callable[[Training], AbstractAsyncContextManager[Logger]]] = {
    "none": partial(_plain, made=NoLogger),
    "copy": partial(_plain, made=Copier),
    "asynclive": _submitting,
    "asynclive-thread": partial(_submitting, isolation="thread"),
    "asynclive-move": partial(_submitting, move=True),
    "dvclive": partial(_plain, made=DvcLive),
    "naive": partial(_plain, made=Naive),
    "dcp": _distributed,
}


def missing(side: str, *, isdir: bool) -> str | None:
    """Return why a side cannot run on this machine; None if it can."""
    if side != "dcp":
        return None
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    return "it writes files of its own" if isdir else None


def _copy(path: Path, copy: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copyfile(path, copy)


def _objects(md5: str) -> list[Path]:
    """Return the cache objects of an artifact; of a directory, those of its files."""
    path = _CACHE / md5[:2] / md5[2:]
    if not path.exists():
        return []
    if not md5.endswith(".dir"):
        return [path]
    return [_CACHE / each["md5"][:2] / each["md5"][2:] for each in json.loads(path.read_text())]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
