"""Log artifacts again and again with new bytes, and check that each is old or new, never between.

The files on disk must match the outcome of the call. After a result, the content, ``.dvc`` file
and entry are new. After an error, all three are as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from invariants import Content, content, entries

from asynclive import AsyncLive, AsyncLiveError, LockTimeoutError, LoggedArtifact

Outcome = LoggedArtifact | AsyncLiveError


LARGE_BYTES = 3 * 2**20  # copied and hashed by two threads, in some steps
MANY = 32  # small files of a directory


@dataclass
class Artifact:
    """An artifact of ``repo``, of kind "small", "large", "directory" or "many"."""

    repo: Path
    kind: str
    copy: bool
    name: str = ""
    values: dict[str, Any] = field(default_factory=lambda: {"type": "m"})
    """Further arguments of log_artifact; if empty, no entry is written."""
    number: int = 0
    bytes: Content | None = None
    """The content of the source."""
    last_state: tuple[Content | None, Content | None, Any] = (None, None, None)
    """Content, .dvc file and entry after the last call that returned a result."""

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
        """Write new bytes to the source; in a directory, to one file and to one new file."""
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
        """Log the source with its number in ``meta``; return an AsyncLiveError, raise others."""
        values: dict[str, Any] = {}
        if self.values:
            values = {**self.values, "name": self.name, "meta": {"number": self.number}}
        try:
            return await live.log_artifact(self.source, copy=self.copy, **values)
        except AsyncLiveError as error:
            return error

    def check(self, outcome: Outcome) -> None:
        """Check that the files on disk match the outcome of the call."""
        assert content(self.source) == self.bytes
        tracked, dvc_file, entry = state = self.state
        if isinstance(outcome, LoggedArtifact):
            assert tracked == self.bytes
            assert outcome.md5 is not None
            assert isinstance(dvc_file, bytes)
            assert outcome.md5.encode() in dvc_file
            assert (entry and entry["meta"]) == ((self.values and {"number": self.number}) or None)
            self.last_state = state
            return
        old = self.last_state if self.copy else (self.bytes, *self.last_state[1:])
        assert state == old, f"after {outcome!r}: {outcome.__cause__!s}"
        # The message names the artifact, dvc.yaml, or the cause in the repository, by its path.
        if not isinstance(outcome, LockTimeoutError):
            assert str(self.repo.parent) in str(outcome)


def _replace(path: Path, data: bytes) -> None:
    # The path may be a link into the cache: writing through it would damage the object.
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def write_all(artifacts: Sequence[Artifact]) -> None:
    for artifact in artifacts:
        artifact.write()


async def log_all(live: AsyncLive, artifacts: Sequence[Artifact]) -> dict[str, Outcome]:
    """Log all artifacts at once; return the outcome of each, by name."""
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
    """Check that each artifact is old or new as its outcome says; return the errors by name."""
    for artifact in artifacts:
        artifact.check(outcomes[artifact.name])
    return {
        artifact.name: one
        for artifact in artifacts
        if isinstance(one := outcomes[artifact.name], AsyncLiveError)
    }


@contextmanager
def case(name: str) -> Iterator[None]:
    """Name one case of many that share a session, so that a failure says which case failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
