"""A pool of processes that stage small files, for directories of very many of them.

A small file takes a dozen system calls, and between any two of them a thread needs the GIL. Two
threads that do nothing else wait for each other all the time, and the event loop waits with them.
A process has a GIL of its own.

A thread of ``FileWorkers`` sends a batch to a process and waits for the answer. So the limit on
threads is a limit on the processes too. Blocking.
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
from .workspace_files import Batch, WorkspaceFiles, stored

# Runs in isolated mode, so that nothing in the working directory or the environment is imported by
# accident. The path is that of the parent. The package is made by hand: importing its __init__
# would take longer than staging some thousand files.
_COMMAND = """
import marshal, sys
sys.path[:], package_path = marshal.load(sys.stdin.buffer)
sys.modules["asynclive"] = type(sys)("asynclive")
sys.modules["asynclive"].__path__ = package_path
from asynclive._ingest.batch_worker import serve
serve()
"""

# The errors of a pipe to a process that was killed: on writing, or on reading.
_PROCESS_ENDED = (BrokenPipeError, EOFError)

_Answer = tuple[Batch, list[str], "Exception | None", "BaseException | None"]
"""The result of a batch, the temp paths of single files, an error and its cause."""


class BatchProcesses:
    """Starts processes when they are first needed, one for each thread that waits for one.

    ``close`` ends them.
    """

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # protects both lists
        self._idle: list[_BatchProcess] = []
        self._all: list[_BatchProcess] = []
        # A program that embeds Python, or is frozen, has no interpreter to start. Without a GIL
        # there is nothing to gain.
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._can_start = bool(sys.executable) and not getattr(sys, "frozen", False) and gil

    def can_stage(self, workspace: WorkspaceFiles) -> bool:
        """Return whether processes can stage the artifact: its files must not become links.

        Files with a cached hash must not be sent: a process has no hash cache.
        """
        return self._can_start and workspace.keeps_plain_files

    def stage_batch(self, workspace: WorkspaceFiles, files: Sequence[PlannedFile]) -> Batch:
        """Stage files as ``FileStager.stage_batch`` does, in an idle process.

        Raises:
            AsyncLiveError: as ``FileStager.stage_batch`` does.
            StorageError: also if the process cannot be started, or has ended.
        """
        try:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                process = self._start()
            answer: _Answer = process.stage_batch(workspace, files)
        except _PROCESS_ENDED as error:
            failed = OSError(None, "its worker process has ended")
            raise StorageError(workspace.request.source, failed) from error
        except OSError as error:
            failed = OSError(None, f"its worker process failed: {error}")
            raise StorageError(workspace.request.source, failed) from error
        with self._lock:
            self._idle.append(process)
        batch, temp_paths, failure, cause = answer
        workspace.temp_paths.extend(temp_paths)
        if failure is not None:
            raise failure from cause
        return batch

    def start_ahead(self, count: int) -> None:
        """Start ``count`` processes, while the directory is still being scanned."""
        if not self._can_start:
            return
        # An error here is dropped. It comes again, and is raised, when a process is needed.
        with contextlib.suppress(OSError):
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
        """End the processes; call it when none of them is at work."""
        for process in self._all:
            process.close()
        self._all.clear()
        self._idle.clear()


class _BatchProcess:
    def __init__(self, number: int, layout: CacheLayout) -> None:
        import subprocess  # late, since most sessions start no process

        self._process = subprocess.Popen(
            # -S: site-packages need not be searched for, since the path names them.
            [sys.executable, "-I", "-S", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the parent handles Ctrl-C
        )
        # stage_plain neither syncs nor publishes in another way than by an unnamed file, and knows
        # an object by its mode.
        self._can_stage_plain = (
            bool(UNNAMED) and not layout.sync.is_enabled and layout.protects_objects
        )
        path = [str(each) for each in sys.path if isinstance(each, str)]
        cache = layout.cache_dir, layout.object_mode, layout.dir_mode
        self._send(marshal.dumps((path, [os.path.dirname(os.path.dirname(__file__))])))
        self._send(message((cache, pickle.dumps((number, layout)))))

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
        spec = request, workspace.isdir, workspace.copy_root
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

    def close(self) -> None:
        with self._process:  # closes its input, which ends it, and waits for its end
            pass

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        # Past the buffer: closing a buffer with data fails if the process has ended.
        write_all(self._process.stdin.fileno(), data)
