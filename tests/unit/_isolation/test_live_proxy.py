"""LiveProxy and serve_live, in two threads in place of two processes."""

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


class FakeLive:
    """A co-writer that knows entries, and may refuse them."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.recordings = 0
        self.refusal: Exception | None = None

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def recording(self, entries: Entries) -> Iterator[Callable[[], object]]:
        if self.refusal is not None:
            raise self.refusal
        self.known.update(entries)
        self.recordings += 1
        with ExitStack() as undo:
            undo.callback(self.known.clear)
            try:
                yield undo.pop_all
            finally:
                self.recordings -= 1


@pytest.fixture
def live() -> FakeLive:
    return FakeLive()


@pytest.fixture
def connected(live: FakeLive, tmp_path: Path) -> Iterator[tuple[LiveProxy, Callable[[], None]]]:
    """Return the end of the worker, and a function that waits for the other end to end."""
    parent_end, worker_end = socket.socketpair()
    thread = threading.Thread(target=serve_live, args=[live, parent_end])
    thread.start()
    worker = LiveProxy(worker_end)
    worker.enter(cast(Repository, WorkerRepository(str(tmp_path), str(tmp_path / "dvcyaml.lock"))))
    yield worker, thread.join
    worker_end.shutdown(socket.SHUT_RDWR)
    thread.join()
    worker._pipe._read.close()
    worker_end.close()
    parent_end.close()


Connected = tuple[LiveProxy, Callable[[], None]]


def test_the_live_keeps_entries_that_were_recorded_and_forgets_the_others(
    live: FakeLive, connected: Connected
) -> None:
    worker, _ = connected
    with worker.recording({"a": {"path": "a"}}):
        assert (live.known, live.recordings) == ({"a": {"path": "a"}}, 1)
    with pytest.raises(ZeroDivisionError), worker.recording({"b": {"path": "b"}}):
        raise ZeroDivisionError
    with worker.recording({"c": {"path": "c"}}) as keep:
        assert set(live.known) == {"c"}
        keep()
    with worker.recording({}) as keep:
        assert set(live.known) == {"c"}
        keep()


def test_an_error_of_the_live_is_raised_in_the_worker_and_the_next_request_succeeds(
    live: FakeLive, connected: Connected
) -> None:
    worker, _ = connected
    for error in (DvcYamlError("dvc.yaml", "is no file."), FileNotFoundError(2, "No cwd")):
        live.refusal = error
        with pytest.raises(type(error), match=str(error)[-5:]), worker.recording({"a": {}}):
            raise AssertionError
    live.refusal = None
    with worker.recording({"a": {}}) as keep:
        keep()
    assert set(live.known) == {"a"}


def test_the_live_forgets_entries_that_a_worker_had_not_recorded_when_it_ended(
    live: FakeLive, connected: Connected
) -> None:
    worker, wait_for_end = connected
    with worker.recording({"a": {}}):
        worker._pipe._sock.shutdown(socket.SHUT_RDWR)
        wait_for_end()
        assert (live.known, live.recordings) == ({}, 0)


def test_the_worker_takes_the_lock_itself_once_the_parent_has_ended(
    connected: Connected, tmp_path: Path
) -> None:
    worker, _ = connected
    worker._pipe._sock.shutdown(socket.SHUT_RD)  # as ``_end_messages`` does when the parent ends
    other = FileLock(str(tmp_path / "dvcyaml.lock"))
    was_recorded: list[bool] = []
    recorded = threading.Event()

    def record_too() -> None:
        with other.hold():
            was_recorded.append(recorded.is_set())

    thread = threading.Thread(target=record_too)
    with worker.recording({"a": {}}) as keep:
        thread.start()
        keep()
        recorded.set()
    thread.join()
    assert was_recorded == [True]
