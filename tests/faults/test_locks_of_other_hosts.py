"""Each host grants itself all file locks, as with NFS ``nolock``: no session disturbs another."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import leftovers, write
from gate import gate_at
from invariants import assert_nothing_lost
from session_process import running
from twin import dvc

from asynclive import AsyncLive, StorageError
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._workspace import session_owner, temp_session
from asynclive._workspace.crash_recovery import remove_dead_sessions

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc"),
]

# Submits a source with move=True, and waits before its commit. Its locks exclude no other process.
MOVE = """
import sys, anyio, fcntl
fcntl.flock = lambda *args: None
from asynclive import AsyncLive
from asynclive._dvc.repository.dvc_repository import DvcRepository

acquire = DvcRepository.acquire

def wait(repository):
    print("staged", flush=True)
    sys.stdin.readline()
    return acquire(repository)

async def main():
    async with AsyncLive(root=sys.argv[1], isolation="thread") as live:
        await live.submit(sys.argv[2], move=True)

DvcRepository.acquire = wait
anyio.run(main)
"""


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize(("source", "stopped"), [("file", True), ("data", False)])
async def test_a_running_session_keeps_its_temp_files_and_moved_sources(
    repo: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, source: str, stopped: bool
) -> None:
    write(repo, {"file": "text", "data/a": "a", "other": "text"})
    with running(MOVE, repo, source) as process:
        assert process.line() == "staged"
        if stopped:
            process.signal(signal.SIGSTOP)
        before = leftovers(repo)
        monkeypatch.setattr(temp_session.fcntl, "flock", lambda *_: None)
        if elsewhere:
            here = session_owner.this_process()._replace(host="other", boot="other")
            monkeypatch.setattr(session_owner, "this_process", lambda: here)
        async with AsyncLive(root=repo, isolation="thread") as live:
            await live.log_artifact("other")
        assert not (repo / source).exists()
        assert set(before) <= set(leftovers(repo))
        if stopped:
            process.signal(signal.SIGCONT)
        process.end()
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"
    assert (repo / "file").read_text() == "text"
    assert (repo / "data" / "a").read_text() == "a"
    assert_nothing_lost(repo)


@pytest.mark.parametrize("how", ["in place", "moved", "copied", "with an entry"])
@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_if_the_temp_files_of_a_session_are_removed_its_calls_fail_and_nothing_is_lost(
    repo: Path, monkeypatch: pytest.MonkeyPatch, how: str, kind: str
) -> None:
    """Another host has seen no sign of life of this process for a long time."""
    write(repo, {"model": "text"} if kind == "file" else {"model/a": "text", "model/b": "text"})
    text = repo / "model" if kind == "file" else repo / "model" / "b"
    gate = gate_at(monkeypatch, DvcRepository, "acquire")
    async with AsyncLive(root=repo, isolation="thread") as live:
        with gate.opened_after():
            handle = await live.submit(
                "model",
                move=how == "moved",
                copy=how == "copied",
                desc="text" if how == "with an entry" else None,
            )
            await gate.reached.wait()
            _remove_silent_sessions(repo, monkeypatch)
            assert text.read_text() == "text"
        with pytest.raises(StorageError, match=r"no sign of life .* Enter a new block"):
            await handle
        with pytest.raises(StorageError, match="Enter a new block"):
            await live.log_artifact("model", copy=True)
    assert text.read_text() == "text"
    assert not (repo / "model.dvc").exists()
    assert_nothing_lost(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model", copy=True)
    assert_nothing_lost(repo)


def _remove_silent_sessions(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the temp files of the running session, as another host does after a long silence."""
    directories = [repo / directory for directory in leftovers(repo)]
    for directory in directories:
        for path in (*sorted(directory.rglob("*"), reverse=True), directory):
            os.utime(path, (1, 1), follow_symlinks=False)
    here = session_owner.this_process()._replace(host="other")
    with monkeypatch.context() as patch:
        patch.setattr(temp_session.fcntl, "flock", lambda *_: None)
        patch.setattr(session_owner, "this_process", lambda: here)
        remove_dead_sessions([str(directory.parent) for directory in directories])
    assert leftovers(repo) == []
