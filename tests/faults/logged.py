"""Artifacts that are logged again and again, each time with new bytes: old or new, never between.

What a call says is what is on disk: a result, and all of it is new; an error, and all of it is as
it was, bytes, ``.dvc`` and entry.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from disk import leftovers
from invariants import Content, content, entries

from asynclive import AsyncLive, AsyncLiveError, LockTimeoutError, LoggedArtifact

Outcome = LoggedArtifact | AsyncLiveError

# The event loop matters little to what a disk does: trio where there is time, or not at all.
mostly_asyncio = pytest.mark.parametrize(
    "anyio_backend", ["asyncio", pytest.param("trio", marks=pytest.mark.long)]
)
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])

LARGE_BYTES = 3 * 2**20  # copied and hashed by two threads, in some steps
MANY = 32  # small files of a directory


@dataclass
class Artifact:
    """One artifact of ``repo``: of kind "small", "large", "directory" or "many"."""

    repo: Path
    kind: str
    copy: bool
    name: str = ""
    values: dict[str, Any] = field(default_factory=lambda: {"type": "m"})
    """What log_artifact is given besides; with nothing in it there is no entry."""
    number: int = 0
    bytes: Content | None = None
    """What the source holds."""
    was: tuple[Content | None, Content | None, Any] = (None, None, None)
    """The artifact, its .dvc and its entry after the last call that returned."""

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.kind}{'-copied' * self.copy}"

    @property
    def source(self) -> Path:
        return (self.repo.parent if self.copy else self.repo) / self.name

    @property
    def path(self) -> Path:
        return self.repo / "dvclive" / "artifacts" / self.name if self.copy else self.source

    @property
    def state(self) -> tuple[Content | None, Content | None, Any]:
        dvc_file = self.path.with_name(f"{self.name}.dvc")
        return content(self.path), content(dvc_file), entries(self.repo).get(self.name)

    def write(self) -> None:
        """Put new bytes into the source: of a directory into one file, and under a new name."""
        self.number += 1
        text = f"{self.name} {self.number} ".encode()
        if self.kind == "many":
            self.source.mkdir(exist_ok=True)
            for index in range(MANY):
                _replace(self.source / str(index), text + b"%d" % index)
        elif self.kind == "directory":
            shutil.rmtree(self.source / "sub", ignore_errors=True)
            (self.source / "sub").mkdir(parents=True)
            _replace(self.source / "stays", b"stays")
            _replace(self.source / "changes", text)
            _replace(self.source / "sub" / str(self.number), text + b"sub")
        elif self.kind == "large":
            _replace(self.source, text * (LARGE_BYTES // len(text)))
        else:
            _replace(self.source, text)
        self.bytes = content(self.source)

    async def log(self, live: AsyncLive) -> Outcome:
        """Log it; its number is in the entry. An error that is not ours is raised."""
        values: dict[str, Any] = {}
        if self.values:
            values = {**self.values, "name": self.name, "meta": {"number": self.number}}
        try:
            return await live.log_artifact(self.source, copy=self.copy, **values)
        except AsyncLiveError as error:
            return error

    def check(self, outcome: Outcome) -> None:
        """What the call said is what is there."""
        assert content(self.source) == self.bytes
        tracked, dvc_file, entry = state = self.state
        if isinstance(outcome, LoggedArtifact):
            assert tracked == self.bytes
            assert outcome.md5 is not None
            assert isinstance(dvc_file, bytes)
            assert outcome.md5.encode() in dvc_file
            assert (entry and entry["meta"]) == ((self.values and {"number": self.number}) or None)
            self.was = state
            return
        old = self.was if self.copy else (self.bytes, *self.was[1:])
        assert state == old, f"after {outcome!r}: {outcome.__cause__!s}"
        # The path of the artifact, of dvc.yaml, or what is wrong with the repository.
        if not isinstance(outcome, LockTimeoutError):
            assert str(self.repo.parent) in str(outcome)


def _replace(path: Path, data: bytes) -> None:
    # It may be a link into the cache.
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def write_all(artifacts: Sequence[Artifact]) -> None:
    for artifact in artifacts:
        artifact.write()


async def log_all(live: AsyncLive, artifacts: Sequence[Artifact]) -> dict[str, Outcome]:
    """Log all at once; what came of each, by name."""
    outcomes: dict[str, Outcome] = {}

    async def log(artifact: Artifact) -> None:
        outcomes[artifact.name] = await artifact.log(live)

    async with anyio.create_task_group() as task_group:
        for artifact in artifacts:
            task_group.start_soon(log, artifact)
    return outcomes


def errors(
    artifacts: Sequence[Artifact], outcomes: dict[str, Outcome]
) -> dict[str, AsyncLiveError]:
    """Look whether each of them is old or new, as its call said; the errors, by name."""
    for artifact in artifacts:
        artifact.check(outcomes[artifact.name])
    return {
        artifact.name: one
        for artifact in artifacts
        if isinstance(one := outcomes[artifact.name], AsyncLiveError)
    }


def temp_files(*bases: Path) -> list[Path]:
    """Files in the directories for temp files of the sessions that are open, less their locks."""
    return [
        path
        for base in bases
        for session in leftovers(base)
        for path in (base / session).rglob("*")
        if path.name != "session"
    ]


@contextmanager
def case(name: str) -> Iterator[None]:
    """One of many in a test, which go through one session: says which it was that failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
