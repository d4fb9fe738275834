"""Leave the entries, comments and keys of others in dvc.yaml as they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from differences import differs_from_dvclive
from disk import dvc_file, look, md5, objects, refused, tree, write

from asynclive import (
    ArtifactPathError,
    AsyncLive,
    AsyncLiveError,
    DvcYamlError,
    InvalidDvcyamlError,
    RepositoryError,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive(
        "drops the entries whose path lies below its directory, "
        "and empties a file that it cannot write"
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    """Use asyncio: nothing here depends on the loop."""
    return "asyncio"


OTHER_RUNS = """\
# Written by hand; keep this comment.
artifacts:
  # of another run, below the same directory
  other:   # not ours
      path: dvclive/artifacts/other.pt
      type:   "model"
      labels: [a,   b]
  mine: {path: old.pt, type: dataset}  # replaced

  last:
    path: 'dvclive/last.pt'

# about the metrics
metrics:
- dvclive/metrics.json
stages:
    train:
        cmd: >-
          python
          train.py
vars: [{a:  1}]
"""


async def test_entries_of_other_runs_and_comments_are_untouched(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvc.yaml": OTHER_RUNS})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", name="new", type="model", copy=True)
        await live.log_artifact("model.pt", name="mine", desc="New")
    assert tree(repo)["dvc.yaml"] == OTHER_RUNS.replace(
        "  mine: {path: old.pt, type: dataset}  # replaced\n",
        "  mine:\n    path: model.pt\n    desc: New\n",
    ).replace(
        "    path: 'dvclive/last.pt'\n",
        "    path: 'dvclive/last.pt'\n"
        "  new:\n    path: dvclive/artifacts/model.pt\n    type: model\n",
    )


async def test_a_refused_call_does_not_even_rewrite_the_file(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvc.yaml": OTHER_RUNS, "fifo/x": ""})
    os.mkfifo(repo / "fifo/pipe")
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError):
            await live.log_artifact("fifo", name="mine")


async def test_the_same_entry_again_leaves_the_file_as_it_is(repo: Path) -> None:
    text = "artifacts:\n  model: {type: model, path: model.pt}   # my own hand\n"
    write(repo, {"model.pt": "weights", "dvc.yaml": text})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
        before = look(repo, objects=True)["dvc.yaml"]
        await live.log_artifact("model.pt", type="model")
        assert look(repo, objects=True)["dvc.yaml"] == before


async def test_a_replaced_entry_keeps_nothing_of_the_old_one(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt", type="model", desc="Old", labels=["a"], meta={"a": 1})
        await live.log_artifact("model.pt", type="model")
    assert tree(repo)["dvc.yaml"] == ("artifacts:\n  model:\n    path: model.pt\n    type: model\n")


def broken(path: Path) -> None:
    path.write_text("artifacts:\n  a: [\n")


def not_utf8(path: Path) -> None:
    path.write_bytes(b"artifacts: \xff\n")


def a_list(path: Path) -> None:
    path.write_text("- artifacts\n")


def a_text(path: Path) -> None:
    path.write_text("artifacts\n")


def artifacts_a_list(path: Path) -> None:
    path.write_text("artifacts:\n- a\n")


def twice_the_same_key(path: Path) -> None:
    path.write_text("artifacts: {}\nartifacts: {}\n")


def with_an_unknown_tag(path: Path) -> None:
    path.write_text("artifacts:\n  a: !python/object:os.system {}\n")


def a_directory(path: Path) -> None:
    path.mkdir()


def broken_stages(path: Path) -> None:
    path.write_text("stages:\n  a: [\n")


WAYS: list[dict[str, Any]] = [
    {},
    {"copy": True},
    {"cache": False},
    {"copy": True, "cache": False},
]

UNUSABLE: list[Callable[[Path], None]] = [
    broken,
    broken_stages,
    not_utf8,
    a_list,
    a_text,
    artifacts_a_list,
    twice_the_same_key,
    with_an_unknown_tag,
    a_directory,
]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [*((spoil, "dvc.yaml") for spoil in UNUSABLE), (broken, "sub/dvc.yaml")],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_an_unusable_dvc_yaml_is_refused_and_nothing_changes(
    repo: Path, spoil: Callable[[Path], None], where: str
) -> None:
    write(repo, {"model.pt": "weights", "dvclive/artifacts/model.pt": "old", "sub/x": ""})
    spoil(repo / where)
    async with AsyncLive(root=repo, dvcyaml=where) as live:
        for way in WAYS:
            with refused(repo, DvcYamlError, match=f"{repo}/{where}", objects=False) as caught:
                await live.log_artifact("model.pt", type="model", **way)
            assert caught.value.path == str(repo / where)
        for way in WAYS:
            before = look(repo, objects=False)
            try:
                # DVC may need to read the file for this call too; otherwise the call succeeds.
                await live.log_artifact("model.pt", **way)
            except RepositoryError:
                assert look(repo, objects=False) == before
            after = look(repo, objects=False)
            assert after[where] == before[where]
        # Logging works again after the repair.
        path = repo / where
        path.rmdir() if path.is_dir() else path.unlink()
        await live.log_artifact("model.pt", type="model")
    relative = os.path.relpath(repo / "model.pt", (repo / where).parent)
    after = tree(repo)
    assert after[where] == f"artifacts:\n  model:\n    path: {relative}\n    type: model\n"
    assert after["model.pt.dvc"] == dvc_file("weights", "model.pt")
    assert objects(repo)[md5("weights")] == b"weights"


async def test_a_pipeline_that_dvc_cannot_read_is_refused(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "other/dvc.yaml": "stages:\n  a: [\n"})
    async with AsyncLive(root=repo) as live:
        for values in ({}, {"type": "model"}, {"copy": True, "type": "model"}):
            with refused(repo, RepositoryError, match="other/dvc.yaml", objects=False):
                await live.log_artifact("model.pt", **values)


async def test_a_dvc_yaml_that_is_a_link_stays_one(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "shared/artifacts.yaml": "# shared\n"})
    os.symlink("shared/artifacts.yaml", repo / "dvc.yaml")
    async with AsyncLive(root=repo) as live:
        try:
            await live.log_artifact("model.pt", type="model")
        except AsyncLiveError:
            assert tree(repo)["shared/artifacts.yaml"] == "# shared\n"
    assert tree(repo)["dvc.yaml"] == "-> shared/artifacts.yaml"


@pytest.mark.parametrize("name", ["dvc.yml", "sub/artifacts.yaml", "dvc.yaml/", "", "Dvc.yaml"])
def test_a_dvcyaml_of_another_name_is_refused_at_construction(repo: Path, name: str) -> None:
    with pytest.raises(InvalidDvcyamlError, match=r"must have filename 'dvc\.yaml'"):
        AsyncLive(root=repo, dvcyaml=name)
