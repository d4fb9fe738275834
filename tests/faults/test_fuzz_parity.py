"""DVCLive and AsyncLive log the same random trees and metadata, and leave the same files on disk.

A batch of examples shares a pair of repositories, since making and comparing repositories takes
longer than logging. If the two differ, each example of the batch is played again alone.
"""

from __future__ import annotations

import difflib
import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from invariants import assert_nothing_lost
from random_trees import Batch, batches
from reference import Reference
from snapshot import Snapshot, take_snapshot
from tally import SURVIVED
from twin import Templates, git, settle

from asynclive import AsyncLive, AsyncLiveError

BATCH = 20
BATCHES = 100
SECONDS = 1_400
"""Time after which no batch starts."""

# Without shrinking: instead, a batch that fails is played again one example at a time.
COMMON = settings(
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.quiet,
)


@dataclass(frozen=True)
class PlayResult:
    snapshot: Snapshot
    refused: list[str | None]


class Player:
    """Plays batches in new twin repositories below ``directory``."""

    def __init__(self, templates: Templates, reference: Reference, directory: Path) -> None:
        self._templates = templates
        self._reference = reference
        self._directory = directory
        self._numbers = itertools.count()
        self.backends = itertools.cycle(["asyncio", "trio"])
        self.played = 0

    def check(self, batch: Batch) -> None:
        """Fail if the two differ, and show the examples that differ."""
        difference = self._difference(batch)
        if difference is not None:
            alone = [replace(batch, examples=(example,)) for example in batch.examples]
            found = [(one, self._difference(one)) for one in alone]
            reports = [f"{one}\n{different}" for one, different in found if different is not None]
            reports = reports or [f"together only: {batch}", difference]
            pytest.fail("\n\n".join([f"{self.played} are the same", *reports]), pytrace=False)
        self.played += len(batch.examples)
        SURVIVED["random artifacts compared with DVCLive"] += len(batch.examples)

    def _difference(self, batch: Batch) -> str | None:
        base = self._directory / str(next(self._numbers))
        try:
            theirs = self._play(batch, base / "theirs", self._dvclive)
            ours = self._play(batch, base / "ours", self._asynclive)
            assert_nothing_lost(base / "ours" / "repo")
        finally:
            shutil.rmtree(base, ignore_errors=True)
        refusals = [
            f"{side} refused call {number}: {reason}"
            for side, result in (("dvclive", theirs), ("asynclive", ours))
            for number, reason in enumerate(result.refused)
            if reason is not None
        ]
        lines = difflib.unified_diff(
            theirs.snapshot.lines, ours.snapshot.lines, "dvclive", "asynclive", lineterm="", n=1
        )
        # No drawn example is refused: after a refusal, the two leave different files on purpose.
        different = [*refusals, *lines]
        # Without stale links: a file that DVCLive removes and copies again may get the same inode,
        # and then looks like a link of DVC.
        return "\n".join(different) if different else None

    def _play(
        self, batch: Batch, base: Path, play: Callable[[Batch, Path], list[str | None]]
    ) -> PlayResult:
        repo = self._templates.make("git", base)
        if batch.cache_type is not None:
            with (repo / ".dvc" / "config").open("a") as file:
                file.write(f"[cache]\n    type = {batch.cache_type}\n")
            git(repo, "commit", "--quiet", "--all", "--message=Configured")
        for number, example in enumerate(batch.examples):
            example.build(repo, number, batch.rules)
        settle(base)
        refused = play(batch, repo)
        snapshot = take_snapshot(
            base,
            root=repo,
            dvc_root=repo,
            live_dir=batch.dir,
            mtimes=False,
            cache=True,
            reference=self._reference,
        )
        return PlayResult(snapshot, refused)

    def _dvclive(self, batch: Batch, repo: Path) -> list[str | None]:
        refused = []
        self._reference.open(repo, {}, {"dir": batch.dir})
        try:
            for number, example in enumerate(batch.examples):
                for call in example.calls:
                    example.change(repo, number, call, batch.rules)
                    outcome = self._reference.log(
                        example.path(number), example.values(number, call)
                    )
                    refused.append(outcome.refused)
        finally:
            self._reference.close()
        return refused

    def _asynclive(self, batch: Batch, repo: Path) -> list[str | None]:
        refused: list[str | None] = []

        async def play() -> None:
            async with AsyncLive(batch.dir, root=repo) as live:
                for number, example in enumerate(batch.examples):
                    for call in example.calls:
                        example.change(repo, number, call, batch.rules)
                        reason = None
                        try:
                            await live.log_artifact(
                                example.path(number), **example.values(number, call)
                            )
                        except AsyncLiveError as error:
                            reason = f"{type(error).__name__}: {error}"
                        refused.append(reason)

        anyio.run(play, backend=next(self.backends))
        return refused


@pytest.fixture
def player(templates: Templates, reference: Reference, tmp_path: Path) -> Player:
    return Player(templates, reference, tmp_path)


def test_asynclive_leaves_a_few_random_artifacts_as_dvclive_does(player: Player) -> None:
    @settings(COMMON, derandomize=True, max_examples=3)
    @given(batches(7))
    def play(batch: Batch) -> None:
        player.check(batch)

    play()
    assert player.played == 21


@pytest.mark.fuzz
def test_asynclive_leaves_thousands_of_random_artifacts_as_dvclive_does(
    player: Player, capsys: pytest.CaptureFixture[str]
) -> None:
    end = time.monotonic() + SECONDS

    @settings(COMMON, max_examples=BATCHES)
    @given(batches(BATCH))
    def play(batch: Batch) -> None:
        if time.monotonic() < end:
            player.check(batch)

    play()
    with capsys.disabled():
        print(f"\n{player.played} examples compared")  # noqa: T201  how many the time allowed
    assert player.played >= BATCH
