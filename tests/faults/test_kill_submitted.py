"""A session that submits versions of a path is killed: each is complete, no source is lost."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invariants import (
    Content,
    assert_nothing_lost,
    assert_one_of,
    content,
    entries,
    md5_of,
    named_objects,
    put,
)
from killing import Killing, Zygote, each_kill, spread
from points import Moment
from scenarios import Job, Report, Scenario, Victims, filled
from twin import Templates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

_LARGE = 2**20 + 200_000
_THREE = tuple(filled(f"v{number}", _LARGE) for number in range(3))
_TREE: tuple[Content, ...] = ({"large": _THREE[0], "a": b"a", "below": {"b": b"b"}},)
_SUBMIT = {"path": "model", "type": "model", "name": "m"}
_MOVE = {**_SUBMIT, "move": True}
_FILES = {"dvc.yaml": b"# theirs\nartifacts:\n  theirs:\n    path: mine\n", "mine": b"mine"}


def _scenario(name: str, versions: tuple[Content, ...], **fields: object) -> Scenario:
    return replace(Scenario(name, _FILES, ()), versions=versions, **fields)


MOVED = _scenario("three moved", _THREE, submit=_MOVE)
SCENARIOS = (
    MOVED,
    _scenario("three copied", _THREE, submit={**_SUBMIT, "copy": True}),
    _scenario("three with latest_wins", _THREE, submit={**_MOVE, "latest_wins": True}),
    _scenario("a directory moved and copied", _TREE, submit={**_MOVE, "copy": True}),
    _scenario(
        "links without renameat2",
        _TREE,
        submit=_MOVE,
        config="[cache]\n    type = symlink\n",
        renameat2=False,
    ),
)


class Submitting(Killing):
    """Its sessions submit. Before the check, a session enters and recovers the files."""

    @property
    def _destination(self) -> str:
        return self.scenario.destination(self.scenario.submit)

    def job(self, repo: Path, backend: str, **options: Any) -> Job:
        for number, version in enumerate(self.scenario.versions):
            put(repo.parent / f"version{number}", version)
        return super().job(repo, backend, **options)

    def check_killed(self, repo: Path) -> None:
        scenario = self.scenario
        versions, submit = scenario.versions, scenario.submit
        submitted = [
            not (repo.parent / f"version{n}").exists() for n in range(len(versions))
        ].count(True)
        only_enters = replace(scenario, versions=(), calls=())
        report = self.zygote.run(replace(self.job(repo, "asyncio"), scenario=only_enters))
        assert (report.signal, report.errors) == (0, [])
        path, dvc_file = repo / self._destination, repo / f"{self._destination}.dvc"
        logged = next(named_objects(repo, dvc_file))[0] if dvc_file.exists() else None
        hashes = [md5_of(version) for version in versions]
        assert logged is None or logged in hashes
        assert entries(repo).keys() <= {"theirs", "m"}
        first_unlogged = hashes.index(logged) + 1 if logged else 0
        found = [content(each) for each in repo.glob("model*") if each.suffix != ".dvc"]
        assert [each for each in found if each not in versions] == []
        if submit.get("move"):
            kept = versions[first_unlogged:submitted]
            if submit.get("latest_wins"):  # an older version is dropped once a newer one exists
                kept = kept[-1:]
            assert [version for version in kept if version not in found] == []
        else:
            assert content(repo / "model") == (versions[submitted - 1] if submitted else None)
        if submit.get("copy"):
            assert_one_of(path, None, *versions)
        removed = () if path.exists() else (path,)
        assert_nothing_lost(repo, removed=removed)

    def check_complete(self, repo: Path, report: Report) -> None:
        assert (report.errors, report.status) == ([], {})
        assert_nothing_lost(repo)
        assert_one_of(repo / self._destination, self.scenario.versions[-1])
        assert entries(repo)["m"] == {"path": self._destination, "type": "model"}
        rules = (repo / self._destination).parent / ".gitignore"
        assert rules.read_text().splitlines().count("/model") == 1

    def next_session(self, repo: Path, backend: str) -> Report:
        # Sources that recovery restored under another name stay until the user acts.
        for restored in repo.glob("model*"):
            if restored.suffix != ".dvc" and restored.name != "model":
                put(restored, None)
        put(repo / "model", None)
        return super().next_session(repo, backend)


@each_kill
def test_a_kill_during_a_move_or_a_placement_loses_nothing(
    victims: Victims, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Submitting(zygote, templates, tmp_path, MOVED, victims)
    counts = killing.count("asyncio").counts
    killing.kill_at([*_of(counts, "move", 2), *_of(counts, "place", 1)])


@pytest.mark.long
@each_kill
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_kill_at_any_stage_leaves_submitted_versions_complete(
    scenario: Scenario, victims: Victims, zygote: Zygote, templates: Templates, tmp_path: Path
) -> None:
    killing = Submitting(zygote, templates, tmp_path, scenario, victims)
    counts = killing.count("trio").counts
    moments = _of(counts, ".dvc", 1)
    if scenario.submit.get("move"):
        moments += [*_of(counts, "move", 1), *_of(counts, "place", 2), *_of(counts, "clean up", 1)]
    killing.kill_at(moments)


def _of(counts: Mapping[str, int], stage: str, most: int) -> list[Moment]:
    return spread({stage: counts[stage]}, most) if counts.get(stage) else []
