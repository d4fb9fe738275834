"""core.autostage: wait for the lock of Git's index as for DVC's lock; then log all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from differences import differs_from_dvclive
from disk import dvc_file, refused, tree, write
from gate import gate_at
from twin import Templates, dvc, git

from asynclive import AsyncLive, LockTimeoutError
from asynclive._doctor.diagnosis import diagnose
from asynclive._dvc.repository import dvc_repository
from asynclive._dvc.repository.dvc_repository import DvcRepository

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("tracks the artifact, warns, and does not add it to Git"),
]

LOGGED = {
    "model.pt.dvc": dvc_file("weights", "model.pt"),
    ".gitignore": "/model.pt\n",
    "dvc.yaml": "artifacts:\n  model:\n    path: model.pt\n    type: m\n",
}


@pytest.fixture
def autostage(repo: Path) -> Path:
    dvc(repo, "config", "core.autostage", "true")
    write(repo, {"model.pt": "weights"})
    return repo


@contextmanager
def git_runs(repo: Path) -> Iterator[Path]:
    """Hold the lock of Git's index, as a git command does while it runs."""
    lock = repo / ".git" / "index.lock"
    lock.touch()
    yield lock
    lock.unlink(missing_ok=True)


def added(repo: Path) -> set[str]:
    return {*git(repo, "diff", "--cached", "--name-only").split()}


async def test_a_call_waits_until_the_git_command_ends(
    autostage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = autostage
    before = tree(repo)
    gate = gate_at(monkeypatch, DvcRepository, "acquire")
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        with git_runs(repo):
            task_group.start_soon(partial(live.log_artifact, "model.pt", type="m"))
            await gate.reached.wait()
            gate.open()
            dvc(repo, "status")  # DVC's lock is free in the meantime
            assert tree(repo) == before
    assert tree(repo) == before | LOGGED
    assert added(repo) == {"model.pt.dvc", ".gitignore"}


@pytest.mark.parametrize("lock_timeout", [0, 0.05])
async def test_after_lock_timeout_a_call_fails_and_leaves_nothing(
    autostage: Path, lock_timeout: float
) -> None:
    repo = autostage
    async with AsyncLive(root=repo, lock_timeout=lock_timeout) as live:
        with git_runs(repo) as lock:
            with refused(repo, LockTimeoutError, match="remove that file", objects=False) as caught:
                await live.log_artifact("model.pt", type="m")
            assert caught.value.lock == str(lock)
            assert caught.value.lock_timeout == lock_timeout
            assert f"'{lock}'" in str(caught.value)
            assert f"'{lock}'" in " ".join(diagnose(str(repo)).notes)
        await live.log_artifact("model.pt", type="m")
    assert added(repo) == {"model.pt.dvc", ".gitignore"}


async def test_without_autostage_the_lock_of_gits_index_does_not_matter(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo, lock_timeout=0) as live:
        with git_runs(repo):
            await live.log_artifact("model.pt")


async def test_dvc_is_initialised_once_the_git_command_has_ended(
    templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = templates.make("bare-git", tmp_path / "base")
    with git_runs(repo) as lock:
        with refused(repo, LockTimeoutError, match="remove that file"):
            await AsyncLive(root=repo, lock_timeout=0).__aenter__()
        check = dvc_repository.open_repo

        def unlock_after_one_attempt(root: str) -> object:
            try:
                return check(root)
            finally:
                lock.unlink(missing_ok=True)

        monkeypatch.setattr(dvc_repository, "open_repo", unlock_after_one_attempt)
        async with AsyncLive(root=repo):
            pass
    assert ".dvc/config" in added(repo)
