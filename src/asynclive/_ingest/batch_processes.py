"""Worker processes that stage small files, where there are very many of them.

A small file is a dozen system calls, and between any two of them a thread needs the
interpreter's lock. Two threads that do nothing else wait for each other as long as they work,
and the event loop waits with them. A process has an interpreter of its own.

A thread of ``FileWorkers`` hands a batch to a process and waits for the answer, so that the
bound on threads bounds the processes too. Blocking.
"""

from __future__ import annotations

import contextlib
import itertools
import marshal
import os
import pickle
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._artifact.plan import PlannedFile
from .._artifact.records import StoredFile
from .._cache.cache_layout import CacheLayout
from .._errors import StorageError
from .._fs.file_io import UNNAMED, write_all
from .batch_pipe import message, receive
from .small_files import Batch, FileStager, stored

# In isolated mode: nothing in the working directory or the environment is imported by accident.
# The path is the parent's. The package is made by hand, since its __init__ imports what only the
# parent needs, and would take longer than some thousand files do.
_COMMAND = """
import marshal, sys
sys.path[:], package_path = marshal.load(sys.stdin.buffer)
sys.modules["asynclive"] = type(sys)("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._ingest.batch_worker import serve
serve()
"""

# What a pipe to a process that was killed says: at once, between answers, or within one.
_ENDED = (BrokenPipeError, EOFError)

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
        """Whether what is to be done is the plain case: files that are to be no links.

        Those that are known already are not for a process: it does not know them.
        """
        return self._possible and files.leaves_plain

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
                process = self._start()
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
        return batch

    def start_ahead(self, count: int) -> None:
        """Have ``count`` of them get ready, while it is still looked at what there is to stage."""
        if not self._possible:
            return
        with contextlib.suppress(OSError):  # it is met again, and said, when one is needed
            while len(self._all) < count:
                process = self._start()
                with self._lock:
                    self._idle.append(process)

    def _start(self) -> _BatchProcess:
        process = _BatchProcess(next(self._numbers), self._layout)
        with self._lock:
            self._all.append(process)
        return process

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
            # Without a search for site-packages, which the path names.
            [sys.executable, "-I", "-S", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        # The lean part of the worker neither syncs nor knows another way to publish.
        self._has_plain = bool(UNNAMED) and not layout.sync.is_enabled
        path = [str(each) for each in sys.path if isinstance(each, str)]
        cache = layout.cache_dir, layout.object_mode, layout.dir_mode
        self._send(marshal.dumps((path, [os.path.dirname(os.path.dirname(__file__))])))
        self._send(message((cache, pickle.dumps((number, layout)))))

    def stage_batch(self, stager: FileStager, files: Sequence[PlannedFile]) -> _Answer:
        batch = Batch()
        left = self._stage_plain(stager, files, batch) if self._has_plain else files
        if not left:
            return batch, [], None, None
        # Less the metadata, which may be large, and matter only to dvc.yaml.
        request = replace(stager.request, entry=None, type=None, desc=None, labels=None, meta=None)
        if stager.moved_to is not None:
            request = replace(request, source=stager.moved_to)
        spec = request, stager.isdir, stager.beside
        asked = pickle.dumps((spec, [tuple(file) for file in left]), pickle.HIGHEST_PROTOCOL)
        rest, *others = pickle.loads(self._ask(asked))
        rest.stored = [StoredFile(*each) for each in rest.stored]
        batch.add(rest)
        return batch, *others

    def _stage_plain(
        self, stager: FileStager, files: Sequence[PlannedFile], batch: Batch
    ) -> list[PlannedFile]:
        """Stage what is plain into ``batch``; returns what is not, or could not be."""
        plain: list[PlannedFile] = []
        left: list[PlannedFile] = []
        for file in files:
            (plain if stager.is_plain(file) else left).append(file)
        asked = [
            (os.sep.join(file.key), file.size, file.mode, file.inode, file.mtime_ns)
            for file in plain
        ]
        source, beside = stager.moved_to or stager.request.source, stager.beside
        answer = self._ask((f"{source}{os.sep}", beside and f"{beside}{os.sep}", asked))
        for file, staged in zip(plain, answer, strict=True):
            if staged is None:
                left.append(file)
            else:
                batch.count(file)
                batch.stored.append(stored(file, *staged))
        # A file system without files that have no name leaves them all.
        self._has_plain = any(answer) or not plain
        return left

    def _ask(self, question: Any) -> Any:
        self._send(message(question))
        assert self._process.stdout is not None
        return receive(self._process.stdout)

    def close(self) -> None:
        with self._process:  # closes its input, at the end of which it ends; waits for that
            pass

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        # Not into the buffer, which could not be closed if the process has ended.
        write_all(self._process.stdin.fileno(), data)
