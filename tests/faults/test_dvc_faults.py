"""DVC raises in the middle of a group: one artifact fails, or none if only DVC's state fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from disk import session_files
from dvc.exceptions import DvcException
from gate import LockHolder, locked
from invariants import assert_nothing_lost, assert_sound
from logged import (
    Artifact,
    Outcome,
    case,
    errors,
    log_all,
    write_all,
)
from twin import dvc, git

from asynclive import AsyncLive, CommitError, LockTimeoutError, RepositoryError, StorageError
from asynclive._engine.group_commit import GroupCommitter

pytestmark = pytest.mark.anyio

# Where DVC raises: module, class, method. An argument of each call names the artifact.
ARTIFACT_STEPS = {
    "making the stage": ("dvc.repo.stage", "StageLoad", "create"),
    "filling the output": ("dvc.output", "Output", "update_legacy_hash_name"),
    "hiding it from Git": ("dvc.repo.scm_context", "SCMContext", "ignore"),
    "writing the .dvc": ("dvc.stage", "Stage", "dumpd"),
    "tracking it in Git": ("dvc.repo.scm_context", "SCMContext", "track_file"),
}
ERRORS: list[Exception] = [
    DvcException("DVC says no"),
    RuntimeError("a bug"),
    OSError(5, "Input/output error"),
]


def raise_in(
    patch: pytest.MonkeyPatch,
    where: tuple[str, str, str],
    error: Exception,
    when: Callable[[str], bool] = lambda arguments: True,
) -> list[str]:
    """Make DVC raise there; return the arguments of each call that raised."""
    module, class_name, method = where
    owner = getattr(import_module(module), class_name)
    real = getattr(owner, method)
    raised: list[str] = []

    def raises(*args: Any, **kwargs: Any) -> Any:
        arguments = f"{[getattr(arg, 'path', None) or arg for arg in args]} {kwargs}"
        if when(arguments):
            raised.append(arguments)
            raise error
        return real(*args, **kwargs)

    patch.setattr(owner, method, raises)
    return raised


def group(repo: Path, suffix: str = "") -> list[Artifact]:
    """Return a group in which two artifacts will fail, one in place and one copied."""
    return [
        Artifact(repo, "small", False, f"first{suffix}"),
        Artifact(repo, "small", True, f"fails-copied{suffix}"),
        Artifact(repo, "directory", True, f"second{suffix}"),
        Artifact(repo, "directory", False, f"fails{suffix}"),
        Artifact(repo, "small", True, f"third{suffix}"),
    ]


@pytest.mark.parametrize(
    ("error", "known"),
    [
        pytest.param(
            error,
            known,
            id=f"{type(error).__name__}-{'logged before' if known else 'new'}",
            marks=[] if known and isinstance(error, OSError) else pytest.mark.long,
        )
        for error in ERRORS
        for known in (False, True)
    ],
)
async def test_only_the_artifact_that_dvc_refuses_fails(
    repo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, known: bool
) -> None:
    artifacts = group(repo)
    async with AsyncLive(root=repo) as live:
        if known:
            write_all(artifacts)
            assert not errors(artifacts, await log_all(live, artifacts))
        for number, (name, where) in enumerate(ARTIFACT_STEPS.items()):
            with case(name):
                if not known:  # new paths in each case
                    artifacts = group(repo, f"-{number}")
                write_all(artifacts)
                with monkeypatch.context() as patch, locked(repo) as gate:
                    raised = raise_in(patch, where, error, lambda arguments: "fails" in arguments)
                    outcomes = await together(live, artifacts, patch, gate)
                failed = errors(artifacts, outcomes)
                assert bool(raised) != (known and name == "making the stage")
                assert len(failed) == (2 if raised else 0)
                for artifact in artifacts:
                    own_error = failed.get(artifact.name)
                    assert (own_error is not None) == (bool(raised) and "fails" in artifact.name)
                    if isinstance(own_error, StorageError | CommitError):
                        assert isinstance(own_error, StorageError) == isinstance(error, OSError)
                        assert own_error.path == str(artifact.path)
                        assert own_error.__cause__ is error
                assert session_files(repo) == []
                assert_sound(repo)
                again = [one for one in artifacts if one.name in failed]
                assert not errors(again, await log_all(live, again))
    assert_nothing_lost(repo)
    assert "up to date" in dvc(repo, "status")


async def together(
    live: AsyncLive, artifacts: list[Artifact], patch: pytest.MonkeyPatch, gate: LockHolder
) -> dict[str, Outcome]:
    """Log them in one group: release DVC's lock when the last of them is staged."""
    submit = GroupCommitter.submit
    not_staged = len(artifacts)

    async def submit_and_open(self: Any, *item: Any) -> Any:
        nonlocal not_staged
        not_staged -= 1
        if not not_staged:
            gate.open()
        return await submit(self, *item)

    patch.setattr(GroupCommitter, "submit", submit_and_open)
    return await log_all(live, artifacts)


# Files that DVC and Git read for every artifact.
SPOILT = {
    "another .dvc": ("theirs.dvc", b"outs:\n- md5: ["),
    "another dvc.yaml": ("theirs/dvc.yaml", b"stages:\n  a: ["),
    "Git's index": (".git/index", b"no index"),
    "Git's configuration": (".git/config", b"[core\n"),
}
# DVC's state is only a cache.
STATE_WRITES = {
    "saving hashes": ("dvc_data.hashfile.state", "State", "save_many"),
    "saving links": ("diskcache", "Cache", "transact"),
}


@pytest.mark.parametrize("where", STATE_WRITES)
async def test_a_failed_write_to_dvcs_state_is_only_a_warning(
    repo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    artifacts = group(repo)
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            full = sqlite3.OperationalError("database or disk is full")
            raised = raise_in(patch, STATE_WRITES[where], full)
            assert not errors(artifacts, await log_all(live, artifacts))
            assert raised
        assert "DVC's state cannot be written to (database or disk is full)" in caplog.text
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)
    assert "up to date" in dvc(repo, "status")


async def test_each_call_gets_its_own_error_if_the_whole_group_fails(repo: Path) -> None:
    artifacts = group(repo)
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        for description, (name, content) in SPOILT.items():
            with case(description):
                write_all(artifacts)
                spoilt = repo / name
                before = spoilt.read_bytes() if spoilt.exists() else None
                spoilt.parent.mkdir(exist_ok=True)
                spoilt.write_bytes(content)
                outcomes = await log_all(live, artifacts)
                if before is None:
                    spoilt.unlink()
                else:
                    spoilt.write_bytes(before)
                failed = errors(artifacts, outcomes)
                assert len({id(one) for one in failed.values()}) == len(artifacts)
                for own_error in failed.values():
                    assert isinstance(own_error, RepositoryError | CommitError)
                    assert own_error.__cause__ is not None
                assert session_files(repo) == []
                assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@pytest.mark.parametrize("fails", ["git add", "one artifact"])
async def test_autostage_adds_the_other_artifacts_to_git(
    repo: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    dvc(repo, "config", "core.autostage", "true")
    artifacts = group(repo)
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch, locked(repo) as gate:
            if fails == "git add":
                where = ("dvc.repo.scm_context", "SCMContext", "add")
                raise_in(patch, where, OSError(28, "No space left on device"))
            else:
                where = ("dvc.stage", "Stage", "dumpd")
                raise_in(
                    patch, where, RuntimeError("a bug"), lambda arguments: "fails" in arguments
                )
            outcomes = await together(live, artifacts, patch, gate)
        if fails == "git add":
            for artifact in artifacts:
                error = outcomes[artifact.name]
                assert isinstance(error, StorageError)
                assert "No space left on device" in str(error)
            assert not list(repo.rglob("?*.dvc"))
            assert not (repo / "dvc.yaml").exists()
            assert git(repo, "status", "--porcelain", "*.gitignore") == ""
        else:
            assert set(errors(artifacts, outcomes)) == {"fails", "fails-copied"}
        assert not errors(artifacts, await log_all(live, artifacts))
    added = git(repo, "diff", "--cached", "--name-only").split()
    assert {path.name for path in map(Path, added)} >= {f"{one.name}.dvc" for one in artifacts}
    assert_nothing_lost(repo)


async def test_each_call_gets_its_own_error_if_the_lock_is_never_released(repo: Path) -> None:
    artifacts = group(repo)
    write_all(artifacts)
    async with AsyncLive(root=repo, lock_timeout=0.05) as live:
        with locked(repo):
            failed = errors(artifacts, await log_all(live, artifacts))
            assert session_files(repo) == []
        assert len(failed) == len(artifacts)
        assert len({id(one) for one in failed.values()}) == len(artifacts)
        assert all(isinstance(one, LockTimeoutError) for one in failed.values())
        assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


async def test_each_call_gets_its_own_error_if_the_lock_cannot_be_opened(repo: Path) -> None:
    artifacts = group(repo)
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        assert not errors(artifacts, await log_all(live, artifacts))
        write_all(artifacts)
        lock = repo / ".dvc" / "tmp" / "lock"
        lock.unlink()
        lock.mkdir()
        failed = errors(artifacts, await log_all(live, artifacts))
        assert session_files(repo) == []
        assert len(failed) == len(artifacts)
        assert len({id(one) for one in failed.values()}) == len(artifacts)
        for error in failed.values():
            assert isinstance(error, StorageError)
            assert error.path == str(lock)
        lock.rmdir()
        assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)
