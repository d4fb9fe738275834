"""A pool of processes that stage small files, for directories of very many of them.

A small file takes a dozen system calls, and between any two of them a thread needs the GIL. Two
threads that do nothing else wait for each other all the time, and the event loop waits with them.
A process has a GIL of its own.

A thread of ``FileWorkers`` sends a batch to a process and waits for the answer. So the limit on
threads is a limit on the processes too. Blocking.
"""

from __future__ import annotations

import itertools
import marshal
import os
import pickle
import select
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from logging import getLogger
from typing import Any

from .._artifact.plan import PlannedFile
from .._artifact.records import StoredFile
from .._cache.cache_layout import CacheLayout
from .._fs.file_io import UNNAMED, remove_file, write_all
from .._fs.paths import import_path
from .._workers import helper_process
from .._workers.helper_process import NotPythonError, Readiness
from .batch_pipe import message, receive
from .workspace_files import Batch, WorkspaceFiles, stored

logger = getLogger(__name__)

# The path is that of the parent. The package is made by hand: importing its __init__ would take
# longer than staging some thousand files.
_COMMAND = f"""{helper_process.SAY_READY}
import marshal
sys.path[:], package_path = marshal.load(sys.stdin.buffer)
sys.modules["asynclive"] = type(sys)("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._ingest.batch_worker import serve
serve()
"""

# How long after its start a thread waits for a process. After that it stages files itself, until
# the process is ready (seconds). An interpreter starts in a fraction of that.
_READY_SECONDS = 2.0
# Once so many processes have ended at work, no other one is started: something kills them all.
_MAX_LOST = 8
# The least that the system takes into an empty pipe without waiting for a reader (bytes).
_PIPE_BYTES = getattr(select, "PIPE_BUF", 512)

_Answer = tuple[Batch, list[str], "Exception | None", "BaseException | None"]
"""The result of a batch, the temp paths of single files, an error and its cause."""


class BatchProcesses:
    """Starts processes when they are first needed, one for each thread that waits for one.

    Where no process can be had, the thread stages the files itself. ``close`` ends the processes.
    """

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # protects both lists
        self._idle: list[_BatchProcess] = []
        self._all: list[_BatchProcess] = []
        self._lost = 0
        # Without a GIL there is nothing to gain.
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._may_start = helper_process.can_start() and gil

    def can_stage(self, workspace: WorkspaceFiles) -> bool:
        """Return whether processes can stage the artifact: its files must not become links.

        Files with a cached hash must not be sent: a process has no hash cache.
        """
        return (self._may_start or bool(self._all)) and workspace.keeps_plain_files

    def stage_batch(self, workspace: WorkspaceFiles, files: Sequence[PlannedFile]) -> Batch | None:
        """Stage files as ``FileStager.stage_batch`` does, in an idle process.

        Returns:
            the result; None: no process is ready, or it has ended at work. Nothing of it is left,
            and the caller stages the files itself.

        Raises:
            AsyncLiveError: as ``FileStager.stage_batch`` does.
        """
        process = self._take()
        if process is None:
            return None
        try:
            answer: _Answer = process.stage_batch(workspace, files)
        except (OSError, EOFError) as error:  # on writing to a process that was killed; on reading
            self._drop(process)
            logger.info("A process that stages small files has ended: %r.", error)
            if workspace.copy_root:
                for file in files:
                    remove_file(workspace.new_path(file))
            return None
        with self._lock:
            self._idle.append(process)
        batch, temp_paths, failure, cause = answer
        workspace.temp_paths.extend(temp_paths)
        if failure is not None:
            raise failure from cause
        return batch

    def start_ahead(self, count: int) -> None:
        """Start ``count`` processes, while the directory is still being scanned."""
        while len(self._all) < count:
            process = self._start()
            if process is None:
                break
            with self._lock:
                self._idle.append(process)

    def _take(self) -> _BatchProcess | None:
        """Return a process that is ready; None: there is none."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or self._start()
        if process is None:
            return None
        try:
            if process.wait_until_ready():
                return process
        except (OSError, NotPythonError) as error:
            self._do_without(error)
            self._drop(process)
            return None
        with self._lock:
            self._idle.insert(0, process)  # behind those that may be ready
        return None

    def _start(self) -> _BatchProcess | None:
        """Start a process; return None if that is not possible."""
        if not self._may_start:
            return None
        try:
            process = _BatchProcess(next(self._numbers), self._layout)
        except OSError as error:
            self._do_without(error)
            return None
        with self._lock:
            self._all.append(process)
        return process

    def _do_without(self, error: Exception) -> None:
        """Start no other process."""
        with self._lock:
            known, self._may_start = not self._may_start, False
        if not known:
            logger.warning(
                "Cannot start a process that stages small files: %s. Threads stage them, which may "
                "take longer. %s",
                *(error, helper_process.remedy(error)),
            )

    def _drop(self, process: _BatchProcess) -> None:
        """End a process that has failed."""
        process.kill()
        with self._lock:
            self._all.remove(process)
            self._lost += 1
            self._may_start = self._may_start and self._lost < _MAX_LOST

    def close(self) -> None:
        """End the processes; call it when none of them is at work."""
        for process in self._all:
            process.let_end()
        for process in self._all:
            process.close()
        self._all.clear()
        self._idle.clear()


class _BatchProcess:
    def __init__(self, number: int, layout: CacheLayout) -> None:
        import subprocess  # late, since most sessions start no process

        self._process = helper_process.start(
            _COMMAND,
            "-S",  # site-packages need not be searched for, since the path names them
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._readiness = Readiness(self._process)
        # stage_plain neither syncs nor publishes in another way than by an unnamed file, and knows
        # an object by its mode.
        self._can_stage_plain = (
            bool(UNNAMED) and not layout.sync.is_enabled and layout.protects_objects
        )
        cache = layout.cache_dir, layout.object_mode, layout.dir_mode
        self._greeting = b"".join(
            (
                marshal.dumps((import_path(), [os.path.dirname(os.path.dirname(__file__))])),
                message((cache, pickle.dumps((number, layout)))),
            )
        )
        if len(self._greeting) <= _PIPE_BYTES:  # so that it can import while it is not needed
            self._greet()

    def wait_until_ready(self) -> bool:
        """Return whether the process takes batches; wait for that for a moment.

        Raises:
            NotPythonError: it never will.
            OSError: it has just ended.
        """
        ready = self._readiness.wait(_READY_SECONDS)
        if ready and self._greeting:
            self._greet()
        return ready

    def _greet(self) -> None:
        greeting, self._greeting = self._greeting, b""
        with suppress(BrokenPipeError):  # it has ended: its output says that too
            self._send(greeting)

    def stage_batch(self, workspace: WorkspaceFiles, files: Sequence[PlannedFile]) -> _Answer:
        batch = Batch()
        if self._can_stage_plain:
            files = self._stage_plain(workspace, files, batch)
        if not files:
            return batch, [], None, None
        # Without the metadata, which may be large and is needed only for dvc.yaml.
        request = replace(
            workspace.request, entry=None, type=None, desc=None, labels=None, meta=None
        )
        if workspace.moved_to is not None:
            request = replace(request, source=workspace.moved_to)
        spec = request, workspace.isdir, workspace.copy_root, workspace.is_on_other_disk
        pickled = pickle.dumps((spec, [tuple(file) for file in files]), pickle.HIGHEST_PROTOCOL)
        rest, *others = pickle.loads(self._ask(pickled))
        rest.stored = [StoredFile(*each) for each in rest.stored]
        batch.add(rest)
        return batch, *others

    def _stage_plain(
        self, workspace: WorkspaceFiles, files: Sequence[PlannedFile], batch: Batch
    ) -> list[PlannedFile]:
        """Stage plain files into ``batch``; return those that are not plain, or that failed."""
        plain: list[PlannedFile] = []
        others: list[PlannedFile] = []
        for file in files:
            (plain if workspace.is_plain(file) else others).append(file)
        sent = [
            (os.sep.join(file.key), file.size, file.mode, file.inode, file.mtime_ns)
            for file in plain
        ]
        source, copy_root = workspace.moved_to or workspace.request.source, workspace.copy_root
        answer = self._ask((f"{source}{os.sep}", copy_root and f"{copy_root}{os.sep}", sent))
        for file, staged in zip(plain, answer, strict=True):
            if staged is None:
                others.append(file)
            else:
                batch.count(file)
                batch.stored.append(stored(file, *staged))
        # All of them fail where the file system has no unnamed files: do not try again.
        self._can_stage_plain = any(answer) or not plain
        return others

    def _ask(self, question: Any) -> Any:
        self._send(message(question))
        assert self._process.stdout is not None
        return receive(self._process.stdout)

    def let_end(self) -> None:
        """Close its input: it then ends if it runs."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        """Wait for its end."""
        if self._readiness.is_ready:
            helper_process.end(self._process)
        self.kill()

    def kill(self) -> None:
        helper_process.kill(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        # Past the buffer: closing a buffer with data fails if the process has ended.
        write_all(self._process.stdin.fileno(), data)
