"""Two threads that talk about dvc.yaml, as those of two processes do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from asynclive._dvclive.experiment import Repository
from asynclive._dvcyaml.entry_lines import Entries
from asynclive._errors import DvcYamlError
from asynclive._fs.file_lock import FileLock
from asynclive._isolation.live_proxy import LiveProxy, WorkerRepository, serve_live


class Knows:
    """Who is beside: it knows entries, and may refuse them."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.within = 0
        self.refuses: Exception | None = None

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def recording(self, entries: Entries) -> Iterator[Callable[[], object]]:
        if self.refuses is not None:
            raise self.refuses
        self.known.update(entries)
        self.within += 1
        with ExitStack() as undo:
            undo.callback(self.known.clear)
            try:
                yield undo.pop_all
            finally:
                self.within -= 1


@pytest.fixture
def knows() -> Knows:
    return Knows()


@pytest.fixture
def ends(knows: Knows, tmp_path: Path) -> Iterator[tuple[LiveProxy, Callable[[], None]]]:
    """The worker's side, and what waits until the other has ended, once this one's is closed."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve_live, args=[knows, ours])
    thread.start()
    worker = LiveProxy(theirs)
    worker.enter(cast(Repository, WorkerRepository(str(tmp_path), str(tmp_path / "turn"))))
    yield worker, thread.join
    theirs.shutdown(socket.SHUT_RDWR)
    thread.join()
    worker._pipe._read.close()
    theirs.close()
    ours.close()


Ends = tuple[LiveProxy, Callable[[], None]]


def test_what_is_kept_is_known_and_what_is_not_is_forgotten(knows: Knows, ends: Ends) -> None:
    worker, _ = ends
    with worker.recording({"a": {"path": "a"}}):
        assert (knows.known, knows.within) == ({"a": {"path": "a"}}, 1)
    with pytest.raises(ZeroDivisionError), worker.recording({"b": {"path": "b"}}):
        raise ZeroDivisionError
    with worker.recording({"c": {"path": "c"}}) as keep:
        assert set(knows.known) == {"c"}
        keep()
    with worker.recording({}) as keep:
        assert set(knows.known) == {"c"}
        keep()


def test_what_is_refused_is_raised_where_it_is_asked_for_and_only_then(
    knows: Knows, ends: Ends
) -> None:
    worker, _ = ends
    for error in (DvcYamlError("dvc.yaml", "is no file."), FileNotFoundError(2, "No cwd")):
        knows.refuses = error
        with pytest.raises(type(error), match=str(error)[-5:]), worker.recording({"a": {}}):
            raise AssertionError
    knows.refuses = None
    with worker.recording({"a": {}}) as keep:
        keep()
    assert set(knows.known) == {"a"}


def test_when_the_worker_ends_what_it_had_not_recorded_is_forgotten(
    knows: Knows, ends: Ends
) -> None:
    worker, end = ends
    with worker.recording({"a": {}}):
        worker._pipe._sock.shutdown(socket.SHUT_RDWR)
        end()
        assert (knows.known, knows.within) == ({}, 0)


def test_when_there_is_nobody_any_more_the_turn_is_taken_alone(ends: Ends, tmp_path: Path) -> None:
    worker, _ = ends
    worker._pipe._sock.shutdown(socket.SHUT_RD)  # as is done when the parent's end is seen
    other = FileLock(str(tmp_path / "turn"))
    taken: list[bool] = []
    left = threading.Event()

    def take() -> None:
        with other.hold():
            taken.append(left.is_set())

    thread = threading.Thread(target=take)
    with worker.recording({"a": {}}) as keep:
        thread.start()
        keep()
        left.set()
    thread.join()
    assert taken == [True]
