"""A call is cancelled at any moment: it is logged completely or not at all, and the next succeeds.

The tests count the moments of a call that is not cancelled. Then they cancel calls at moments
spread over all of its stages; a gate holds each call at its moment (see ``moments``). On asyncio
the three ways to cancel take turns. In a worker process, at a third of the moments: it works with
the same engine (see ``remote_moments``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import WAYS, Isolation, in_both
from cancelling import submitted
from disk import look
from invariants import (
    Content,
    assert_nothing_lost,
    content,
    entries,
    md5_of,
    named_objects,
    temp_files,
)
from moments import Moments, many_steps, spread
from remote_moments import RemoteMoments
from tally import SURVIVED
from twin import dvc
from worker_agent import Agents

import asynclive._cache.hash_cache
import asynclive._stage.stage_job
from asynclive import AsyncLive

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Scenario:
    """An artifact, and how it is logged. ``fresh``: at a new path each time."""

    kind: str
    copy: bool
    fresh: bool = False
    changes: bool = True
    with_another_call: bool = False
    """Whether another call is in flight, which must succeed."""
    cache_type: str = ""
    processes: bool = False
    submit: bool = False
    move: bool = False

    def write(self, repo: Path, turn: int) -> Path:
        """Write the artifact for this turn."""
        path = repo / (f"artifact{turn}" if self.fresh else "artifact")
        files = {"small": {"": 5}, "large": {"": 300_000}}.get(self.kind)
        if files is None:
            files = {f"{name}/{name}{turn % 7}": 10 * name for name in range(1, 20)}
            files["large"] = 150_000
            if self.changes:
                shutil.rmtree(path, ignore_errors=True)
        if self.changes or not path.exists():
            for name, size in files.items():
                below = path / name if name else path
                below.parent.mkdir(parents=True, exist_ok=True)
                # As programs save: write a new file, then rename it over the old one.
                new = repo / "new"
                new.write_bytes(f"{turn} {name} ".encode().ljust(size, b"."))
                os.replace(new, below)
        return path

    def tracked(self, repo: Path, source: Path) -> Path:
        return repo / "dvclive" / "artifacts" / source.name if self.copy else source


SCENARIOS = {
    "a small file, copied": Scenario("small", True, fresh=True),
    "a large file, copied over an old one": Scenario("large", True),
    "a large file, in place": Scenario("large", False, fresh=True),
    "a directory, copied over an old one": Scenario("directory", True),
    "a directory, in place, over an old one": Scenario("directory", False),
    "a directory that has not changed": Scenario("directory", True, changes=False),
    "a large file while another is logged": Scenario("large", True, with_another_call=True),
    "a file that a link replaces": Scenario("large", False, cache_type="symlink"),
    "a directory of hard links": Scenario("directory", False, fresh=True, cache_type="hardlink"),
    "a directory in worker processes": Scenario("directory", True, fresh=True, processes=True),
    "a large file, submitted": Scenario("large", True, submit=True),
    "a directory, submitted, in place": Scenario("directory", False, submit=True),
    "a small file, moved": Scenario("small", False, fresh=True, move=True),
    "a directory, moved, over an old one": Scenario("directory", False, move=True),
    "a large file, moved, that a link replaces": Scenario(
        "large", False, move=True, cache_type="symlink"
    ),
    "a directory, moved, that leaves a copy": Scenario("directory", True, move=True),
}
# Only in the long tests.
RARE = {name for name in SCENARIOS if name.startswith(("a large file, moved", "a directory, s"))}
RARE |= {"a directory, moved, that leaves a copy"}
FEW = 4
MANY = 24
"""Moments of each scenario in the long tests: more than 200 on each backend in all."""


def prepare(patch: pytest.MonkeyPatch, processes: bool) -> None:
    """Let artifacts take many steps, and cache their hashes after the first call."""
    many_steps(patch)
    # By default, hashes of a file that was just written are not trusted.
    patch.setattr(asynclive._cache.hash_cache, "_is_settled", lambda planned, read_at_ns: True)
    if processes:
        patch.setattr(asynclive._stage.stage_job, "PROCESS_FILES", 10)
        patch.setattr(asynclive._stage.stage_job, "PROCESS_BATCH_FILES", 3)


def moments_of(
    patch: pytest.MonkeyPatch, agents: Agents, scenario: Scenario, isolation: Isolation
) -> Moments | RemoteMoments:
    if isolation == "thread":
        prepare(patch, scenario.processes)
        return Moments(patch)
    prepared = f"prepare(pytest.MonkeyPatch(), {scenario.processes})"
    agents.run(f"import pytest, test_cancel_sweep\ntest_cancel_sweep.{prepared}")
    return RemoteMoments(agents)


async def sweep(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    agents: Agents,
    scenario: Scenario,
    backend: str,
    isolation: Isolation,
    number: int,
) -> Moments | RemoteMoments:
    """Cancel a call at this number of moments, from first to last, and check the disk each time."""
    if scenario.cache_type:
        (repo / ".dvc" / "config").write_text(f"[cache]\n    type = {scenario.cache_type}\n")
    moments = moments_of(monkeypatch, agents, scenario, isolation)
    async with AsyncLive(root=repo, workers=3, isolation=isolation) as live:
        moments.live = live
        moment_counts: Mapping[str, int] = {}
        # The first call logs everything as new. The first two find out from where a rename reaches
        # the directory of the copy, which the first one makes.
        for turn in range(3):
            source = scenario.write(repo, turn)
            moment_counts = await moments.count(_logging(live, scenario, source, turn))
        for turn, moment in enumerate(spread(moment_counts, number), 3):
            source = scenario.write(repo, turn)
            tracked, new = scenario.tracked(repo, source), content(source)
            assert new is not None
            log = _logging(live, scenario, source, turn)
            before, old = look(repo, objects=False), state(repo, tracked)
            temps = temp_files(repo)
            way = WAYS[backend][turn % len(WAYS[backend])]
            async with anyio.create_task_group() as others:
                if scenario.with_another_call:
                    others.start_soon(_log_another, repo, live, turn)
                call, action = await moments.cancel_at(moment, way, log)
            message = f"{way}, moment {moment} of {moment_counts}: {action}"
            assert call.error is None, message
            logged = state(repo, tracked) == _logged(new, turn)
            if not call.cancelled or (moment[0] == "commit" and not scenario.with_another_call):
                assert logged, message
            elif scenario.with_another_call:  # the moment may be in the stage of either call
                assert logged or state(repo, tracked) == old, message
            else:
                assert look(repo, objects=False) == before, message
            assert temp_files(repo) == temps, message
            # A logged source that was moved is gone, or is a link, which cannot be moved.
            if not scenario.move or not logged:
                await log()
            assert state(repo, tracked) == _logged(new, turn), message
            assert temp_files(repo) == temps, message
    assert moments.running == 0
    assert_nothing_lost(repo)
    SURVIVED[f"calls cancelled, on {backend}, isolation={isolation!r}"] += moments.cancelled.total()
    return moments


def _logging(
    live: AsyncLive, scenario: Scenario, source: Path, turn: int
) -> Callable[[], Awaitable[Any]]:
    values = {"meta": {"turn": turn}, "copy": scenario.copy}
    if scenario.submit or scenario.move:
        return partial(submitted, live, source, move=scenario.move, **values)
    return partial(live.log_artifact, source, **values)


async def _log_another(repo: Path, live: AsyncLive, turn: int) -> None:
    other, data = repo / f"other{turn}", b"%d" % turn * 100_000
    other.write_bytes(data)
    await live.log_artifact(other, meta={"turn": turn})
    assert state(repo, other) == _logged(data, turn)


def state(repo: Path, tracked: Path) -> tuple[Any, ...]:
    """Return the content, the MD5 in the .dvc file, and the entry's meta."""
    dvc_file = tracked.with_name(f"{tracked.name}.dvc")
    md5 = next(named_objects(repo, dvc_file))[0] if dvc_file.exists() else None
    return content(tracked), md5, entries(repo).get(tracked.name, {}).get("meta")


def _logged(new: Content, turn: int) -> tuple[Any, ...]:
    return new, md5_of(new), {"turn": turn}


@in_both
@pytest.mark.parametrize(
    ("anyio_backend", "scenario"),
    [
        # By turns. In the long run each of them has both.
        pytest.param(backend, SCENARIOS[name], id=f"{name}-{backend}")
        for backend, name in zip(
            cycle(WAYS), [name for name in SCENARIOS if name not in RARE], strict=False
        )
    ],
)
async def test_a_call_can_be_cancelled_at_a_few_moments_of_each_stage(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    agents: Agents,
    anyio_backend: str,
    isolation: Isolation,
    scenario: Scenario,
) -> None:
    number = FEW if isolation == "thread" else FEW // 2
    moments = await sweep(repo, monkeypatch, agents, scenario, anyio_backend, isolation, number)
    assert moments.cancelled.total() >= number - 1


@pytest.mark.long
@in_both
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_a_call_can_be_cancelled_at_many_moments_of_each_stage(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    agents: Agents,
    anyio_backend: str,
    isolation: Isolation,
    scenario: Scenario,
) -> None:
    # Submitted or not, a call takes the same steps up to the snapshot of its bytes.
    number = MANY // 2 if scenario.submit or scenario.move else MANY
    if isolation == "process":
        number //= 3
    moments = await sweep(repo, monkeypatch, agents, scenario, anyio_backend, isolation, number)
    # A call can end before its moment if two threads interleave otherwise than when counted.
    assert moments.cancelled.total() >= number - 3
    assert set(moments.cancelled) == {"look", "stage", "lock", "commit"}
    assert "up to date" in dvc(repo, "status")
