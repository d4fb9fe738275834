"""A source changes while it is logged, or a file appears at the destination in between.

The artifact is tracked with the content that the call saw first, or the call is refused. A mixture
is never tracked. The test makes the change at an exact moment: within a system call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from disk import session_files
from failing import failing
from invariants import assert_nothing_lost, content, object_path
from logged import (
    Artifact,
    Outcome,
    case,
    errors,
    log_all,
    write_all,
)

import asynclive._ingest.copy_and_hash
import asynclive._stage.stager
from asynclive import ArtifactChangedError, AsyncLive, AsyncLiveError

pytestmark = pytest.mark.anyio


def grows(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrinks(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def is_written(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    # A write within one tick of the clock may keep the mtime. Set it, so that it changes.
    os.utime(path, ns=(1, 1))


def is_replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"o" * path.stat().st_size)
    os.replace(other, path)


def vanishes(path: Path) -> None:
    path.unlink()


def becomes_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [grows, shrinks, is_written, is_replaced, vanishes, becomes_a_directory]
# These changes put another file at the path. An open descriptor still reads the old file.
OPEN_ONE_STAYS = (is_replaced, vanishes, becomes_a_directory)
MOMENTS = ["before it is opened", "while it is read", "once it is staged"]


class Change:
    """A change that is made once, at its moment, in the worker thread that stages ``path``."""

    def __init__(self, path: Path, change: Callable[[Path], None], moment: str) -> None:
        self.path = str(path)
        self.is_made = False
        self._change = change
        self._moment = moment

    def at_call(self, name: str, args: tuple[Any, ...]) -> bool:
        if self._moment == "before it is opened":
            is_moment = name == "open" and args[0] == self.path
        else:
            is_moment = name in ("read", "copy_file_range", "lseek") and _is_of(args[0], self.path)
        if is_moment and self._moment != "once it is staged":
            self.make()
        return False  # the call itself succeeds

    def make(self) -> None:
        if not self.is_made:
            self.is_made = True
            self._change(Path(self.path))


def _is_of(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def at_its_moment(change: Change, moment: str, patch: pytest.MonkeyPatch) -> Any:
    """Return a block in which the change is made at this moment."""
    if moment == "once it is staged":
        stage = asynclive._stage.stager.Stager.stage

        async def stage_then_change(self: Any, plan: Any, *args: Any, **values: Any) -> Any:
            staged = await stage(self, plan, *args, **values)
            if change.path.startswith(str(plan.request.source)):
                change.make()
            return staged

        patch.setattr(asynclive._stage.stager.Stager, "stage", stage_then_change)
    calls = [name for name in ("open", "read", "copy_file_range", "lseek") if hasattr(os, name)]
    return failing(calls, 0, change.at_call)


@pytest.mark.parametrize(
    ("kind", "copy"),
    [
        pytest.param(
            kind,
            copy,
            id=f"{kind}-{'copied' if copy else 'in place'}",
            marks=[] if (kind, copy) in (("small", False), ("large", True)) else pytest.mark.long,
        )
        for kind in ("small", "large", "directory")
        for copy in (False, True)
    ],
)
async def test_an_artifact_is_tracked_as_its_call_saw_it_or_is_refused(
    repo: Path, monkeypatch: pytest.MonkeyPatch, kind: str, copy: bool
) -> None:
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "STEP_BYTES", 2**20)
    artifact = Artifact(repo, kind, copy)
    others = [
        Artifact(repo, "small", True, "other-file"),
        Artifact(repo, "directory", False, "other-directory"),
    ]
    together = [artifact, *others]
    async with AsyncLive(root=repo) as live:
        write_all(together)
        assert not errors(together, await log_all(live, together))
        for change, moment in product(CHANGES, MOMENTS):
            with case(f"{change.__name__} {moment}"):
                write_all(together)
                seen = content(artifact.source)
                changed = artifact.source / "changes" if kind == "directory" else artifact.source
                planned = Change(changed, change, moment)
                with (
                    pytest.MonkeyPatch.context() as patch,
                    at_its_moment(planned, moment, patch),
                ):
                    outcomes = await log_all(live, together)
                assert planned.is_made
                assert session_files(repo) == []
                is_logged = moment == "once it is staged" or (
                    moment == "while it is read" and change in OPEN_ONE_STAYS
                )
                check(artifact, outcomes[artifact.name], seen, changed, is_logged=is_logged)
                # The other calls succeed. Once the source is stable, it is logged.
                assert not errors(others, outcomes)
                if changed.is_dir():
                    changed.rmdir()
                artifact.write()
                assert not errors([artifact], await log_all(live, [artifact]))
    assert_nothing_lost(repo)


def check(
    artifact: Artifact, outcome: Outcome, seen: Any, changed: Path, *, is_logged: bool
) -> None:
    """Check that the artifact is logged as the call saw it, or refused and unchanged."""
    tracked, *recorded = artifact.state
    if is_logged:
        assert not isinstance(outcome, AsyncLiveError), outcome
        assert outcome.md5 is not None
        if artifact.kind != "directory":
            assert object_path(artifact.repo, outcome.md5).read_bytes() == seen
        assert not artifact.copy or tracked == seen
    else:
        assert isinstance(outcome, ArtifactChangedError)
        assert outcome.path == str(changed)
        assert recorded == list(artifact.last_state[1:])
        assert not artifact.copy or tracked == artifact.last_state[0]


def file_appears(path: Path) -> None:
    path.write_bytes(b"another process wrote this")


def directory_appears(path: Path) -> None:
    path.mkdir()
    (path / "theirs").write_bytes(b"another process wrote this")


def link_appears(path: Path) -> None:
    path.symlink_to(outside(path))


def link_to_a_directory_appears(path: Path) -> None:
    path.symlink_to(outside(path).parent)


def dangling_link_appears(path: Path) -> None:
    path.symlink_to("nowhere")


def outside(path: Path) -> Path:
    """Return a file outside the repository, which must never be written."""
    outside = path.parents[3] / "outside" / "file"
    outside.parent.mkdir(exist_ok=True)
    outside.write_bytes(b"untouched")
    return outside


APPEARS = [
    file_appears,
    directory_appears,
    link_appears,
    link_to_a_directory_appears,
    dangling_link_appears,
]


@pytest.mark.parametrize(
    "kind", [pytest.param("small", marks=pytest.mark.long), "large", "directory"]
)
async def test_a_new_file_at_the_destination_is_replaced_and_no_link_is_written_through(
    repo: Path, kind: str
) -> None:
    (repo / "dvclive" / "artifacts").mkdir(parents=True)
    async with AsyncLive(root=repo) as live:
        for appears in APPEARS:
            with case(appears.__name__):
                artifact = Artifact(repo, kind, True, f"{kind}-{appears.__name__}")
                artifact.write()
                planned = Change(artifact.source, lambda _: appears(artifact.path), "")  # noqa: B023
                with pytest.MonkeyPatch.context() as patch:
                    at_its_moment(planned, "once it is staged", patch)
                    assert not errors([artifact], await log_all(live, [artifact]))
                assert planned.is_made
                assert not artifact.path.is_symlink()
                assert outside(artifact.path).read_bytes() == b"untouched"
                assert [path.name for path in outside(artifact.path).parent.iterdir()] == ["file"]
    assert_nothing_lost(repo)
