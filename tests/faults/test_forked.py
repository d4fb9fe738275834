"""Several AsyncLive objects: in threads with event loops, and in forked and spawned processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from invariants import assert_nothing_lost, entries
from twin import dvc

from asynclive import AsyncLive, NotActiveError
from asynclive._dvc.repository.dvc_repository import DvcRepository

BACKENDS = ("asyncio", "trio")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork does not exist here")


async def log(repo: Path, paths: Sequence[Path]) -> None:
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as tasks:
        for path in paths:
            tasks.start_soon(lambda path=path: live.log_artifact(path, type="dataset", copy=True))


def run_own_loop(repo: Path, paths: Sequence[Path], backend: str) -> None:
    anyio.run(log, repo, paths, backend=backend)


def make(repo: Path, process: int, count: int = 5) -> list[Path]:
    paths = [repo / f"{process}-{number}.bin" for number in range(count)]
    for path in paths:
        path.write_text(path.name)
    return paths


def check(repo: Path, paths: Sequence[Path]) -> None:
    assert {entry["path"] for entry in entries(repo).values()} == {
        f"dvclive/artifacts/{path.name}" for path in paths
    }
    assert_nothing_lost(repo)
    assert "up to date" in dvc(repo, "status")


def test_objects_in_threads_with_their_own_loops_lose_nothing(repo: Path) -> None:
    shares = [make(repo, number, 10) for number in range(4)]
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            run_own_loop(repo, shares[number], BACKENDS[number % 2])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    check(repo, [path for share in shares for path in share])


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_processes_with_an_object_each_lose_nothing(repo: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    shares = [make(repo, number) for number in range(2)]
    workers = [
        context.Process(target=run_own_loop, args=(repo, share, backend))
        for share, backend in zip(shares, BACKENDS, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    check(repo, [path for share in shares for path in share])


@needs_fork
@pytest.mark.anyio
async def test_an_object_of_the_parent_is_refused_in_a_forked_child(repo: Path) -> None:
    (path,) = make(repo, 0, 1)
    async with AsyncLive(root=repo) as live:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                live.log_artifact(path).send(None)
            except NotActiveError as error:
                code = 0 if "process" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        await live.log_artifact(path, type="dataset", copy=True)  # the parent can still log
    check(repo, [path])


@needs_fork
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_child_forked_during_a_commit_can_log_with_its_own_object(
    repo: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """In the child, the thread that is in DVC and holds asynclive's lock does not exist."""
    parent_paths, child_paths = make(repo, 0, 1), make(repo, 1, 1)
    inside, gate = threading.Event(), threading.Event()
    commit = DvcRepository._commit

    def commit_after_gate(repository: DvcRepository, group: Sequence[Any]) -> Any:
        inside.set()
        assert gate.wait(60)
        return commit(repository, group)

    monkeypatch.setattr(DvcRepository, "_commit", commit_after_gate)
    parent = threading.Thread(target=run_own_loop, args=(repo, parent_paths, backend))
    parent.start()
    assert inside.wait(60)
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)  # a child that hangs ends by this
            monkeypatch.setattr(DvcRepository, "_commit", commit)
            anyio.run(_signal_and_log, repo, child_paths, write_fd, backend=backend)
            code = 0
        finally:
            os._exit(code)
    os.close(write_fd)
    try:
        signalled = os.read(read_fd, 1)
    finally:
        gate.set()
        os.close(read_fd)
        parent.join()
        _, status = os.waitpid(child, 0)
    assert signalled == b"e"
    assert status == 0
    check(repo, [*parent_paths, *child_paths])


async def _signal_and_log(repo: Path, paths: Sequence[Path], write_fd: int) -> None:
    async with AsyncLive(root=repo) as live:
        os.write(write_fd, b"e")
        for path in paths:
            await live.log_artifact(path, type="dataset", copy=True)
