"""A ``dvclive.Live`` in the parent, and a worker process that writes the dvc.yaml of both.

The worker asks a thread of the parent to lock dvc.yaml, and to add the entries that it is about to
record to the ``Live``. The two threads talk over a socket of their own. They must not use the event
loop of the parent: the ``Live`` may block that loop while it waits for the same lock.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from .._dvclive.experiment import ExperimentFunctions, Repository, SessionExperiment
from .._dvcyaml.co_writer import CoWriter
from .._dvcyaml.entry_lines import Entries
from .._fs.file_lock import FileLock
from .portable_errors import errors_to_send, received_error

if TYPE_CHECKING:
    from typing_extensions import Self


class WorkerRepository:
    """The repository that the worker has opened, for the ``Live`` in the parent.

    Args:
        root: the root of the repository.
        lock_path: the lock file of dvc.yaml.
    """

    def __init__(self, root: str, lock_path: str) -> None:
        self.root = root
        self._lock_path = lock_path

    def dvcyaml_lock(self) -> FileLock:
        return FileLock(self._lock_path)

    def experiment_functions(self) -> ExperimentFunctions:
        # Late: only a Live has imported DVC here.
        from .._dvc.repository.save_experiment import save_experiment, stage_for_git

        return save_experiment, stage_for_git


def serve_live(co_writer: CoWriter, sock: socket.socket) -> None:
    """Serve the requests of a worker to the ``Live``, until the worker ends. Blocks.

    Entries that were added to the ``Live`` but not recorded are removed before the worker
    continues, or, if the worker was killed, before this returns.
    """
    with _Pipe(sock) as pipe, contextlib.suppress(_EndedError):
        while True:
            entries = pipe.receive()
            try:
                with co_writer.recording(entries) as keep:
                    pipe.send([])
                    if pipe.receive():
                        keep()
            except _EndedError:
                raise
            except Exception as error:  # the worker raises it
                pipe.send(errors_to_send(error))


class LiveProxy(SessionExperiment):
    """The ``Live`` of the parent, for the worker. The ``Live`` saves the experiment itself.

    Args:
        sock: connected to :func:`serve_live`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._pipe = _Pipe(sock)
        self.co_writer = self
        self._dvcyaml_lock: FileLock | None = None  # set by ``enter``
        self.live_repository: tuple[str, str] | None = None
        """The arguments of :class:`WorkerRepository` in the parent."""

    def enter(self, repository: Repository) -> None:
        self._dvcyaml_lock = repository.dvcyaml_lock()
        self.live_repository = repository.root, self._dvcyaml_lock.path

    def lock(self) -> AbstractContextManager[None]:
        assert self._dvcyaml_lock is not None
        return self._dvcyaml_lock.hold()

    @contextmanager
    def recording(self, entries: Entries) -> Iterator[Callable[[], object]]:
        with contextlib.ExitStack() as lock:
            try:
                self._pipe.send(entries)
                errors = self._pipe.receive()
            except _EndedError:
                # The Live is gone. A group that commits is recorded all the same.
                errors = []
                lock.enter_context(self.lock())
            if errors:
                raise received_error(errors)
            kept = threading.Event()
            try:
                yield kept.set
            finally:
                with contextlib.suppress(_EndedError):
                    self._pipe.send(kept.is_set())


class _EndedError(Exception):
    """The other process has ended."""


class _Pipe:
    """Sends and receives values over a socket; blocks. Leaving it ends a wait at the other end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._read.close()

    def send(self, value: Any) -> None:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise _EndedError from error

    def receive(self) -> Any:
        try:
            return pickle.load(self._read)
        except (EOFError, OSError, pickle.UnpicklingError) as error:  # also inside a message
            raise _EndedError from error
