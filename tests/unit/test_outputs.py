"""OutputIndex: its answers next to DVC's own verdict on the same paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from dvc.exceptions import (
    OutputDuplicationError,
    OverlappingOutputPathsError,
    StagePathAsOutputError,
)
from dvc.fs import localfs
from dvc.repo.graph import build_graph
from dvc.repo.trie import build_outs_trie
from hypothesis import given
from hypothesis import strategies as st

from asynclive._errors import ArtifactPathError
from asynclive._outputs import OutputIndex

ROOT = "/repo"


@dataclass(eq=False)
class Output:
    """As much of DVC's ``Output`` as its trie and graph ask for."""

    fs_path: str
    stage: Any = None
    fs: Any = localfs


@dataclass(eq=False)
class Stage:
    path: str
    outs: list[Output]
    cmd: str | None = None
    deps: list[Any] = field(default_factory=list)
    is_repo_import: bool = False
    is_db_import: bool = False

    def __post_init__(self) -> None:
        for out in self.outs:
            out.stage = self

    @property
    def relpath(self) -> str:
        return self.path.removeprefix(f"{ROOT}/")

    addressing = relpath


def tracked(path: str) -> Stage:
    """As ``dvc add path`` leaves it."""
    return Stage(f"{path}.dvc", [Output(path)])


def index_of(stages: list[Stage]) -> OutputIndex[Output]:
    index: OutputIndex[Output] = OutputIndex(ROOT)
    for stage in stages:
        index.add_declaration(stage.path)
        for out in stage.outs:
            index.add_output(out)
    return index


paths = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=4).map(
    lambda parts: "/".join((ROOT, *parts))
)


@st.composite
def workspaces(draw: st.DrawFn) -> list[Stage]:
    """Stages that DVC takes for valid together, some of them in files apart from their outputs."""
    stages: list[Stage] = []
    for path in draw(st.lists(paths, max_size=6)):
        directory = draw(paths) if draw(st.booleans()) else None
        stage = tracked(path)
        if directory is not None:
            stage.path = f"{directory}/{draw(st.sampled_from(['dvc.yaml', 'x.dvc']))}"
            stage.cmd = draw(st.sampled_from([None, "run"]))
        try:
            build_graph([*stages, stage])
        except (OutputDuplicationError, OverlappingOutputPathsError, StagePathAsOutputError):
            continue
        stages.append(stage)
    return stages


@given(workspaces(), paths)
def test_a_path_is_new_where_dvc_would_take_it_for_one(stages: list[Stage], path: str) -> None:
    index = index_of(stages)
    try:
        claimed = index.claim(path)
    except ArtifactPathError:
        claimed = "refused"  # type: ignore[assignment]
    try:
        build_outs_trie([*stages, tracked(path)])
    except OutputDuplicationError:
        (owner,) = (out for stage in stages for out in stage.outs if out.fs_path == path)
        expected: Any = "refused" if owner.stage.cmd else owner
    except OverlappingOutputPathsError as error:
        # Inside of a tracked directory it is that directory's to update; around one, refused.
        around = error.parent.fs_path == path
        expected = "refused" if around or error.parent.stage.cmd else error.parent
    else:
        try:
            build_graph([*stages, tracked(path)])
            expected = None
        except StagePathAsOutputError:
            expected = "refused"
    assert claimed is expected or claimed == expected == "refused"


@given(workspaces(), paths)
def test_the_owner_of_a_path_is_the_one_output_above_it(stages: list[Stage], path: str) -> None:
    trie = build_outs_trie(stages)
    assert index_of(stages).owner(path) is trie.shortest_prefix(localfs.parts(path)).value


@given(workspaces(), paths)
def test_adding_an_output_again_changes_no_answer(stages: list[Stage], path: str) -> None:
    once, twice = index_of(stages), index_of(stages + stages[::-1])
    assert once.owner(path) is twice.owner(path)
    answers = []
    for index in (once, twice):
        try:
            answers.append(index.claim(path))
        except ArtifactPathError as error:
            answers.append(type(error))  # type: ignore[arg-type]
    assert answers[0] is answers[1]


def test_an_output_of_a_stage_with_a_command_is_left_to_the_pipeline() -> None:
    index = index_of([Stage("/repo/dvc.yaml", [Output("/repo/out")], cmd="run")])
    for path in ("/repo/out", "/repo/out/part"):
        with pytest.raises(ArtifactPathError, match=r"stage 'dvc\.yaml'.*copy=True") as caught:
            index.claim(path)
        assert caught.value.path == path


def test_a_directory_around_an_output_is_refused_naming_it_and_the_way_out() -> None:
    index = index_of([tracked("/repo/data/part")])
    with pytest.raises(
        ArtifactPathError, match=r"'/repo/data/part'.*dvc remove /repo/data/part\.dvc"
    ):
        index.claim("/repo/data")
    with pytest.raises(ArtifactPathError, match="'/repo/data/part'"):
        index.claim("/repo")


def test_a_directory_around_a_declaration_is_refused_naming_it() -> None:
    index: OutputIndex[Output] = OutputIndex(ROOT)
    index.add_declaration("/repo/pipelines/dvc.yaml")
    with pytest.raises(ArtifactPathError, match=r"'/repo/pipelines/dvc\.yaml'"):
        index.claim("/repo/pipelines")
    assert index.claim("/repo/pipelines2") is None


def test_names_that_begin_alike_do_not_overlap() -> None:
    index = index_of([tracked("/repo/data")])
    for path in ("/repo/data_v2", "/repo/dat", "/repo/data.csv", "/repo/x/data"):
        assert index.claim(path) is None


def test_an_output_outside_of_the_repository_owns_itself_alone() -> None:
    outside = tracked("/elsewhere/data")
    index = index_of([outside])
    assert index.owner("/elsewhere/data") is outside.outs[0]
    assert index.owner("/elsewhere/data/part") is None
