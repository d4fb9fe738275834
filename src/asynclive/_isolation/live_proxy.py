"""A Live in one process, and a worker process that writes the dvc.yaml of both.

The worker asks a thread beside the Live to have its turn at dvc.yaml, and to tell the Live what
is about to be recorded. Both wait for each other in threads, over a socket of their own: the
event loop of the Live's process may be held up by the Live, which waits for the turn.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .._dvclive.experiment import Repository, SessionExperiment
from .._dvcyaml.co_writer import CoWriter
from .._dvcyaml.entry_lines import Entries
from .._fs.file_lock import FileLock
from .portable_errors import chained, with_causes

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class WorkerRepository:
    """A repository that the worker has open, as far as it concerns who is beside it.

    Args:
        root: its root.
        turn: the file of the turn at dvc.yaml.
    """

    def __init__(self, root: str, turn: str) -> None:
        self.root = root
        self._turn = turn

    def turn(self) -> FileLock:
        return FileLock(self._turn)

    def alone(self, func: Callable[[], T]) -> T:
        """Call what calls DVC's code, while nobody else of this process does."""
        from .._dvc.process_guard import in_dvc  # for who has imported DVC anyway

        with in_dvc():
            return func()


def attend(beside: CoWriter, sock: socket.socket) -> None:
    """Do what a worker asks of who is beside it, until the worker ends. Blocks, in a thread.

    What he was told and was not recorded, he has forgotten when the worker goes on; where the
    worker was killed, when this returns.
    """
    with _Pipe(sock) as talk, contextlib.suppress(_EndedError):
        while True:
            entries = talk.hear()
            try:
                with beside.told(entries) as keep:
                    talk.say([])
                    if talk.hear():
                        keep()
            except _EndedError:
                raise
            except Exception as error:  # the worker's to raise
                talk.say(with_causes(error))


class LiveProxy(SessionExperiment):
    """In the worker: the Live of its parent, which saves the experiment itself.

    Args:
        sock: has ``attend`` at its other end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._talk = _Pipe(sock)
        self.beside = self

    def enter(self, repository: Repository) -> None:
        self._turn = repository.turn()
        self.place = repository.root, self._turn.path

    def turn(self) -> AbstractContextManager[None]:
        return self._turn.take()

    @contextmanager
    def told(self, entries: Entries) -> Iterator[Callable[[], object]]:
        with contextlib.ExitStack() as held:
            try:
                self._talk.say(entries)
                errors = self._talk.hear()
            except _EndedError:
                # There is no Live any more. What commits is recorded all the same.
                errors = []
                held.enter_context(self._turn.take())
            if errors:
                raise chained(errors)
            kept: list[bool] = []
            try:
                yield lambda: kept.append(True)
            finally:
                with contextlib.suppress(_EndedError):
                    self._talk.say(bool(kept))


class _EndedError(Exception):
    """The other process has."""


class _Pipe:
    """One side. Whoever waits at the other is not left waiting when it is left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._read.close()

    def say(self, what: Any) -> None:
        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise _EndedError from error

    def hear(self) -> Any:
        try:
            return pickle.load(self._read)
        except (EOFError, OSError, pickle.UnpicklingError) as error:  # in the middle of a word
            raise _EndedError from error
