"""OutputIndex gives the same verdict as DVC on the same paths."""

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
from asynclive._index.tracked_outputs import OutputIndex

ROOT = "/repo"


@dataclass(eq=False)
class Output:
    """The attributes of DVC's ``Output`` that its trie and graph use."""

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
    """Return the stage that ``dvc add path`` makes."""
    return Stage(f"{path}.dvc", [Output(path)])


def index_of(stages: list[Stage]) -> OutputIndex[Output]:
    index: OutputIndex[Output] = OutputIndex(ROOT)
    for path, outs in declarations(stages).items():
        index.declare(path, outs)
    return index


def declarations(stages: list[Stage]) -> dict[str, list[Output]]:
    """Return the outputs by the file that declares them; a dvc.yaml may declare many stages."""
    outputs: dict[str, list[Output]] = {}
    for stage in stages:
        outputs.setdefault(stage.path, []).extend(stage.outs)
    return outputs


paths = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=4).map(
    lambda parts: "/".join((ROOT, *parts))
)


@st.composite
def workspaces(draw: st.DrawFn) -> list[Stage]:
    """Stages that are valid together for DVC. Some files are not next to their outputs."""
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
def test_a_path_gets_a_new_output_if_dvc_would_make_one(stages: list[Stage], path: str) -> None:
    index = index_of(stages)
    claimed = verdict(index, path)
    try:
        build_outs_trie([*stages, tracked(path)])
    except OutputDuplicationError:
        (owner,) = (out for stage in stages for out in stage.outs if out.fs_path == path)
        expected: Any = "refused" if owner.stage.cmd else owner
    except OverlappingOutputPathsError as error:
        # A path inside a tracked directory updates that directory. A path around one is refused.
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
def test_the_owner_of_a_path_is_the_output_at_or_above_it(stages: list[Stage], path: str) -> None:
    trie = build_outs_trie(stages)
    assert index_of(stages).owner(path) is trie.shortest_prefix(localfs.parts(path)).value


def verdict(index: OutputIndex[Output], path: str) -> Any:
    try:
        return index.claim(path)
    except ArtifactPathError:
        return "refused"


@given(workspaces(), st.lists(st.tuples(st.booleans(), st.integers(0, 5))), paths)
def test_after_any_changes_the_answers_equal_those_of_a_new_index(
    stages: list[Stage], changes: list[tuple[bool, int]], path: str
) -> None:
    declared = declarations(stages)
    index, remaining = index_of(stages), dict(declared)
    for present, number in changes:
        for declaration, outs in list(declared.items())[number : number + 1]:
            if present:
                index.declare(declaration, outs)
                remaining[declaration] = outs
            else:
                index.retract(declaration)
                remaining.pop(declaration, None)
    expected: OutputIndex[Output] = OutputIndex(ROOT)
    for declaration, outs in remaining.items():
        expected.declare(declaration, outs)
    assert index.owner(path) is expected.owner(path)
    assert verdict(index, path) is verdict(expected, path)
    assert (path in index) is (path in expected)


@given(workspaces())
def test_retracting_every_declaration_leaves_an_empty_index(stages: list[Stage]) -> None:
    index = index_of(stages)
    for declaration in declarations(stages):
        index.retract(declaration)
    assert vars(index) == vars(OutputIndex(ROOT))


def test_if_two_files_declare_an_output_retracting_one_keeps_the_other() -> None:
    first, second = tracked("/repo/data"), tracked("/repo/data")
    second.path = "/repo/again.dvc"
    index = index_of([first, second])
    index.retract(second.path)
    assert index.owner("/repo/data/part") is first.outs[0]


def test_an_output_of_a_stage_with_a_command_is_refused() -> None:
    index = index_of([Stage("/repo/dvc.yaml", [Output("/repo/out")], cmd="run")])
    for path in ("/repo/out", "/repo/out/part"):
        with pytest.raises(ArtifactPathError, match=r"stage 'dvc\.yaml'.*copy=True") as caught:
            index.claim(path)
        assert caught.value.path == path


def test_a_directory_around_an_output_is_refused_and_the_error_says_what_to_do() -> None:
    index = index_of([tracked("/repo/data/part")])
    with pytest.raises(
        ArtifactPathError, match=r"'/repo/data/part'.*dvc remove /repo/data/part\.dvc"
    ):
        index.claim("/repo/data")
    with pytest.raises(ArtifactPathError, match="'/repo/data/part'"):
        index.claim("/repo")


def test_a_directory_around_a_dvc_file_is_refused_and_the_error_names_it() -> None:
    index: OutputIndex[Output] = OutputIndex(ROOT)
    index.declare("/repo/pipelines/dvc.yaml", [])
    with pytest.raises(ArtifactPathError, match=r"'/repo/pipelines/dvc\.yaml'"):
        index.claim("/repo/pipelines")
    assert index.claim("/repo/pipelines2") is None


def test_names_that_begin_alike_do_not_overlap() -> None:
    index = index_of([tracked("/repo/data")])
    for path in ("/repo/data_v2", "/repo/dat", "/repo/data.csv", "/repo/x/data"):
        assert index.claim(path) is None


def test_an_output_outside_the_repository_owns_only_its_own_path() -> None:
    outside = tracked("/elsewhere/data")
    index = index_of([outside])
    assert index.owner("/elsewhere/data") is outside.outs[0]
    assert index.owner("/elsewhere/data/part") is None
