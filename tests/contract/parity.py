"""Play the same calls through DVCLive and through AsyncLive, in twin repositories.

A case is played once through DVCLive and once through AsyncLive. Then the two repositories are
compared, line by line.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from case import Case, Do, Dvc, Log, Step, blocks, logs_of
from reference import Outcome, Reference
from ruamel.yaml import YAML
from snapshot import Snapshot, take_snapshot
from twin import Templates, settle

from asynclive import AsyncLive, AsyncLiveError, LoggedArtifact

# Where the work is done. A worker process starts in half a second, a case takes a tenth of that.
in_a_worker = pytest.mark.parametrize("isolation", ["process"], indirect=True)
in_a_worker_too = pytest.mark.parametrize(
    "isolation", ["thread", pytest.param("process", marks=pytest.mark.long)], indirect=True
)
in_both = pytest.mark.parametrize("isolation", ["thread", "process"], indirect=True)


@dataclass(frozen=True)
class Result:
    snapshot: Snapshot
    outcomes: list[Outcome]

    @property
    def refused(self) -> list[bool]:
        return [outcome.refused is not None for outcome in self.outcomes]

    @property
    def messages(self) -> list[tuple[str, ...]]:
        return [outcome.messages for outcome in self.outcomes]


class Parity:
    """Plays cases. The result of DVCLive is kept and compared with each run of AsyncLive."""

    def __init__(self, templates: Templates, reference: Reference, directory: Path) -> None:
        self._templates = templates
        self._reference = reference
        self._directory = directory
        self._results: dict[int, Result] = {}
        self._numbers = itertools.count()

    async def check(self, case: Case, base: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Play ``case`` on both sides, AsyncLive in ``base``; fail where they differ."""
        if id(case) not in self._results:
            self._results[id(case)] = self._play_reference(case)
        expected = self._results[id(case)]
        actual = await self._play_asynclive(case, base, caplog)
        if (expected.refused, expected.snapshot.lines) != (actual.refused, actual.snapshot.lines):
            pytest.fail(_diff(case, expected, actual), pytrace=False)
        assert actual.snapshot.stale_links <= expected.snapshot.stale_links
        if case.messages:
            assert actual.messages == expected.messages
        case.check(base / "repo")

    def _play_reference(self, case: Case) -> Result:
        repo = self._build(case, self._directory / str(next(self._numbers)))
        outcomes: list[Outcome] = []
        for before, rest in blocks(case.steps):
            self._perform(before, case, repo)
            if case.reference == "dvc add":
                for step in rest:
                    for log in logs_of(step):
                        self._reference.dvc(repo / case.root, "add", log.path(repo))
                        outcomes.append(Outcome(None, ()))
                    self._perform([step], case, repo)
                continue
            self._reference.open(repo / case.root, case.env(repo), dict(case.live))
            try:
                for step in rest:
                    for log in logs_of(step):
                        outcomes.append(self._reference.log(log.path(repo), log.values))
                    self._perform([step], case, repo)
            finally:
                self._reference.close()
        result = self._result(case, repo, outcomes)
        # Otherwise a case that fails on both sides would compare two failures.
        refused = [False] * len(outcomes)
        refused[-1:] = [case.refused]
        assert result.refused == refused, outcomes
        clean = "dvc status: {}" in result.snapshot.lines
        assert clean != case.dirty, "\n".join(result.snapshot.lines)
        return result

    async def _play_asynclive(
        self, case: Case, base: Path, caplog: pytest.LogCaptureFixture
    ) -> Result:
        repo = self._build(case, base)
        outcomes: list[Outcome] = []
        caplog.set_level(logging.INFO, "asynclive")
        with pytest.MonkeyPatch.context() as patch:
            if case.messages:  # messages may name files from the working directory
                patch.chdir(repo / case.root)
            for name, value in case.env(repo).items():
                patch.setenv(name, value)
            for before, rest in blocks(case.steps):
                self._perform(before, case, repo)
                async with AsyncLive(root=repo / case.root, **case.live) as live:
                    for step in rest:
                        outcomes += await _log_all(live, logs_of(step), repo, caplog)
                        self._perform([step], case, repo)
        return self._result(case, repo, outcomes)

    def _build(self, case: Case, base: Path) -> Path:
        repo = self._templates.make(case.kind, base)
        case.setup(repo)
        settle(base)
        return repo

    def _perform(self, steps: list[Step], case: Case, repo: Path) -> None:
        for step in steps:
            if isinstance(step, Do):
                step.function(repo)
            elif isinstance(step, Dvc):
                self._reference.dvc(repo / case.root, step.method, *step.args, **step.kwargs)

    def _result(self, case: Case, repo: Path, outcomes: list[Outcome]) -> Result:
        return Result(
            snapshot=take_snapshot(
                repo.parent,
                root=Path(os.path.realpath(repo / case.root)),
                dvc_root=repo / case.dvc_root,
                live_dir=str(case.live.get("dir", "dvclive")),
                mtimes=case.mtimes,
                cache=not case.refused,
                reference=self._reference,
            ),
            outcomes=outcomes,
        )


async def _log_all(
    live: AsyncLive, logs: tuple[Log, ...], repo: Path, caplog: pytest.LogCaptureFixture
) -> list[Outcome]:
    """Log all at once. Messages are assigned to a call only where there is one call."""
    refused: list[str | None] = [None] * len(logs)

    async def log_one(number: int, log: Log) -> None:
        try:
            logged = await live.log_artifact(log.path(repo), **log.values)
        except AsyncLiveError as exc:
            refused[number] = f"{type(exc).__name__}: {exc}"
        else:
            _check_record(logged)

    caplog.clear()
    async with anyio.create_task_group() as tasks:
        for number, log in enumerate(logs):
            tasks.start_soon(log_one, number, log)
    messages = tuple(r.getMessage() for r in caplog.records if r.name.startswith("asynclive"))
    return [Outcome(reason, messages) for reason in refused]


def _check_record(logged: LoggedArtifact) -> None:
    """Check that the returned record agrees with the .dvc file."""
    own = logged.path.with_name(logged.path.name + ".dvc")
    if logged.dvc_file != own:
        return  # not cached, or inside a directory that has the .dvc file
    (out,) = YAML(typ="safe").load(own.read_text())["outs"]
    assert (logged.md5, logged.size, logged.nfiles) == (
        out["md5"],
        out["size"],
        out.get("nfiles", 1),
    )


def _diff(case: Case, expected: Result, actual: Result) -> str:
    sides = {case.reference: expected, "asynclive": actual}
    return "\n".join(
        [
            f"{case.name}: {case.reference} and asynclive left different repositories",
            *(
                f"{side} refused call {number}: {outcome.refused}"
                for side, result in sides.items()
                for number, outcome in enumerate(result.outcomes, 1)
                if outcome.refused
            ),
            *difflib.unified_diff(
                expected.snapshot.lines, actual.snapshot.lines, *sides, lineterm="", n=2
            ),
        ]
    )
