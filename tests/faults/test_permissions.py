"""Real EACCES and EMFILE: the error names the path that cannot be read, written or opened."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from disk import session_files
from invariants import assert_nothing_lost, assert_sound
from logged import (
    Artifact,
    case,
    errors,
    log_all,
    write_all,
)

from asynclive import AsyncLive, DvcYamlError, StorageError

pytestmark = pytest.mark.anyio


UNREADABLE = [
    ("small", ""),
    ("large", ""),
    ("directory", ""),
    ("directory", "changes"),
    ("directory", "sub"),
]


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
async def test_an_artifact_that_cannot_be_read_fails_alone(repo: Path, copy: bool) -> None:
    artifacts = [Artifact(repo, kind, copy) for kind in ("small", "large", "directory")]
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        for kind, below in UNREADABLE:
            with case(f"{kind} {below}"):
                write_all(artifacts)
                (artifact,) = (one for one in artifacts if one.kind == kind)
                unreadable = artifact.source / below
                mode = stat.S_IMODE(unreadable.stat().st_mode)
                unreadable.chmod(0)
                outcomes = await log_all(live, artifacts)
                unreadable.chmod(mode)
                failed = errors(artifacts, outcomes)
                assert failed.keys() == {artifact.name}
                error = failed[artifact.name]
                assert isinstance(error, StorageError)
                assert error.errno == errno.EACCES
                assert error.path == str(artifact.source)
                assert str(unreadable) in str(error)
                assert session_files(repo) == []
                assert not errors([artifact], await log_all(live, [artifact]))
    assert_nothing_lost(repo)


def cache(repo: Path) -> list[Path]:
    """Return the cache and its directories."""
    top = repo / ".dvc" / "cache" / "files" / "md5"
    return [top, *top.glob("??")]


# The write-protected paths, and the calls that fail: all, those that copy, or none.
READ_ONLY: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "the cache": (cache, "all"),
    "the directory of the copies": (lambda repo: [repo / "dvclive" / "artifacts"], "copied"),
    "the directory of dvc.yaml and of files in place": (lambda repo: [repo], "all"),
    "the .gitignore of the copies": (
        lambda repo: [repo / "dvclive" / "artifacts" / ".gitignore"],
        "none: the lines exist",
    ),
    "DVC's directory for temp files": (lambda repo: [repo / ".dvc" / "tmp"], "none"),
    "the session's directory for temp files": (
        lambda repo: list((repo / ".dvc" / "tmp").glob("asynclive-*")),
        "all",
    ),
    "DVC's lock": (lambda repo: [repo / ".dvc" / "tmp" / "lock"], "all"),
}


@pytest.mark.usefixtures("unprivileged")
async def test_a_write_protected_path_is_named_and_nothing_is_lost(repo: Path) -> None:
    artifacts = [
        Artifact(repo, "small", False),
        Artifact(repo, "large", True),
        Artifact(repo, "directory", False),
        Artifact(repo, "directory", True),
    ]
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        for description, (find, failing_calls) in READ_ONLY.items():
            with case(description):
                write_all(artifacts)
                protected = {path: stat.S_IMODE(path.stat().st_mode) for path in find(repo)}
                for path in protected:
                    path.chmod(0o555 if path.is_dir() else 0o444)
                outcomes = await log_all(live, artifacts)
                for path, mode in protected.items():
                    path.chmod(mode)
                failed = errors(artifacts, outcomes)
                for error in failed.values():
                    assert isinstance(error, StorageError | DvcYamlError)
                    assert "Permission denied" in str(error)
                names = {one.name for one in artifacts if failing_calls == "all" or one.copy}
                assert failed.keys() == (set() if failing_calls.startswith("none") else names)
                assert session_files(repo) == []
                assert_sound(repo)
                assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.long), 4])
async def test_every_call_is_old_or_new_when_some_more_files_can_be_opened_each_time(
    repo: Path, step: int
) -> None:
    pytest.importorskip("resource", reason="the limit of open files cannot be set here")
    from limits import at_most_more_open_files

    artifacts = [
        Artifact(repo, "small", False),
        Artifact(repo, "large", True),
        Artifact(repo, "directory", True),
    ]
    failed = moments = 0
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        while True:
            write_all(artifacts)
            with at_most_more_open_files(step * moments):
                outcomes = await log_all(live, artifacts)
            refused_calls = errors(artifacts, outcomes)
            # Removing a directory needs open files too, so temp files may stay until the end.
            if not refused_calls:
                break
            for error in refused_calls.values():
                assert "Too many open files" in f"{error} {error.__cause__}"
            failed += len(refused_calls)
            moments += 1
            assert not errors(artifacts, await log_all(live, artifacts))
    assert failed
    assert_nothing_lost(repo)
