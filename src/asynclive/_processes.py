"""Worker processes that stage small files, where there are very many of them.

A small file is a dozen system calls, and between any two of them a thread needs the
interpreter's lock. Two threads that do nothing else wait for each other as long as they work,
and the event loop waits with them. A process has an interpreter of its own.

A thread of ``FileWorkers`` hands a batch to a process and waits for the answer, so that the
bound on threads bounds the processes too. Blocking.
"""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Any

from ._artifact import StoredFile
from ._errors import StorageError
from ._filestage import Batch, FileStager
from ._plan import PlannedFile
from ._store import CacheLayout, ObjectStore, write_all

# In isolated mode: nothing in the working directory or the environment is imported by accident.
# The path is the parent's. The package is made by hand, since its __init__ imports what only the
# parent needs, and would take longer than a thousand files do.
_COMMAND = """
import pickle, sys, types
sys.path[:], package_path = pickle.load(sys.stdin.buffer)
sys.modules["asynclive"] = types.ModuleType("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._processes import serve
serve()
"""
# The event loop, and the training beside it, go first.
_NICENESS = 5

# What a pipe to a process that was killed says: at once, between answers, or within one.
_ENDED = (BrokenPipeError, EOFError, pickle.UnpicklingError)

_Answer = tuple[Batch, list[str], "Exception | None", "BaseException | None"]
"""What came of a batch, the files made for places in the workspace, an error and its cause."""


class BatchProcesses:
    """Started when first needed, one for each thread that waits for one; ended by ``close``."""

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards both lists
        self._idle: list[_BatchProcess] = []
        self._all: list[_BatchProcess] = []
        # What embeds Python, or was frozen, has no interpreter to start. Without a lock of the
        # interpreter there is nothing to gain.
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._possible = bool(sys.executable) and not getattr(sys, "frozen", False) and gil

    def can_stage(self, files: FileStager) -> bool:
        """Whether what is to be done is the plain case: new files that are no links."""
        return self._possible and files.leaves_plain and not files.known.files

    def stage_batch(self, stager: FileStager, files: Sequence[PlannedFile]) -> Batch:
        """As ``FileStager.stage_batch``, in a process that has nothing else to do.

        Raises:
            AsyncLiveError: as there.
            StorageError: the process could not be started, or has ended.
        """
        try:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                process = _BatchProcess(next(self._numbers), self._layout)
                with self._lock:
                    self._all.append(process)
            answer: _Answer = process.stage_batch(stager, files)
        except _ENDED as error:
            failed = OSError(None, "its worker process has ended")
            raise StorageError(stager.request.source, failed) from error
        except OSError as error:
            failed = OSError(None, f"its worker process failed: {error}")
            raise StorageError(stager.request.source, failed) from error
        with self._lock:
            self._idle.append(process)
        batch, made, failure, cause = answer
        stager.made += made
        if failure is not None:
            raise failure from cause
        batch.stored = [StoredFile(*stored) for stored in batch.stored]
        return batch

    def close(self) -> None:
        """End them; none is at work any more."""
        for process in self._all:
            process.close()
        self._all.clear()
        self._idle.clear()


class _BatchProcess:
    def __init__(self, number: int, layout: CacheLayout) -> None:
        import subprocess  # for few: most sessions start no process

        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self._send((sys.path, [os.path.dirname(__file__)]))
        self._send((number, layout))

    def stage_batch(self, stager: FileStager, files: Sequence[PlannedFile]) -> Any:
        # Less the metadata, which may be large, and matter only to dvc.yaml.
        request = replace(stager.request, entry=None, type=None, desc=None, labels=None, meta=None)
        if stager.moved_to is not None:
            request = replace(request, source=stager.moved_to)
        spec = request, stager.isdir, stager.beside
        self._send((spec, [tuple(file) for file in files]))
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        with self._process:  # closes its input, at the end of which it ends; waits for that
            pass

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        # Not into the buffer, which could not be closed if the process has ended.
        write_all(self._process.stdin.fileno(), pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def serve(requests: IO[bytes] | None = None, answers: IO[bytes] | None = None) -> None:
    """Stage batches until there are no more: what a worker process does."""
    requests, answers = requests or sys.stdin.buffer, answers or sys.stdout.buffer
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    number, layout = pickle.load(requests)
    store = ObjectStore(layout, f"p{number}-")
    while True:
        try:
            (request, isdir, beside), files = pickle.load(requests)
        except EOFError:
            return
        stager = FileStager(request, isdir, store, beside)
        batch, error = Batch(), None
        try:
            batch = stager.stage_batch([PlannedFile(*file) for file in files], _never)
        except Exception as caught:
            error = caught
        batch.stored = [tuple(stored) for stored in batch.stored]  # type: ignore[misc]
        answer = batch, stager.made, error, error and error.__cause__
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _never() -> None:
    """A batch is short: cancellation is looked for between two of them."""
