"""In a DVC pipeline, compare the path of an artifact with the outputs of stages by its parts."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import anyio
import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, objects, refused, tree, write
from ruamel.yaml import YAML
from twin import dvc

from asynclive import AsyncLive, RepositoryError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("compares texts: ``data`` hides ``data_v2``"),
]

OUTPUT = "stages:\n  prepare:\n    cmd: python prepare.py\n    outs:\n    - {}\n"


@pytest.fixture
def in_pipeline(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment in which DVC runs the command of a stage."""
    monkeypatch.setenv("DVC_ROOT", str(repo))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("asynclive")]


@pytest.mark.usefixtures("in_pipeline")
@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("data_v2", "data"),
        ("data", "data_v2"),
        ("data/raw", "data/raw_v2"),
        ("out/data", "data"),
        ("data", "out/data"),
        ("model.pt.best", "model.pt"),
    ],
)
async def test_a_path_whose_text_is_part_of_an_output_is_tracked(
    repo: Path, caplog: pytest.LogCaptureFixture, output: str, path: str
) -> None:
    write(repo, {output: "the stage's", path: "logged", "dvc.yaml": OUTPUT.format(output)})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(path, type="m", name="a")
        assert logged.dvc_file == repo / f"{path}.dvc"
    directory, _, name = path.rpartition("/")
    assert tree(repo) == before | {
        f"{path}.dvc": dvc_file("logged", name),
        f"{directory}/.gitignore".lstrip("/"): f"/{name}\n",
        "dvc.yaml": OUTPUT.format(output) + f"artifacts:\n  a:\n    path: {path}\n    type: m\n",
    }
    assert messages(caplog) == [
        f"To track '{path}' automatically in the DVC pipeline, add it as an output of the "
        "pipeline stage."
    ]


@pytest.mark.usefixtures("in_pipeline")
@pytest.mark.parametrize("path", ["data", "data/", "data/part", "./x/../data"])
async def test_an_output_of_a_stage_is_left_to_the_pipeline_and_annotated(
    repo: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO, "asynclive")
    write(repo, {"data/part": "the stage's", "dvc.yaml": OUTPUT.format("data")})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(path, type="m", name="a")
        assert (logged.md5, logged.dvc_file) == (None, None)
    path_in_entry = os.path.normpath(path)
    assert tree(repo) == before | {
        "dvc.yaml": OUTPUT.format("data")
        + f"artifacts:\n  a:\n    path: {path_in_entry}\n    type: m\n"
    }
    assert objects(repo) == {}
    assert messages(caplog) == [
        f"Skipping `dvc add {path}` because it is already being tracked automatically as an "
        "output of the DVC pipeline."
    ]


@pytest.mark.usefixtures("in_pipeline")
async def test_a_copy_that_is_an_output_of_a_stage_is_made_and_left_to_the_pipeline(
    repo: Path,
) -> None:
    text = OUTPUT.format("dvclive/artifacts/model.pt")
    write(repo, {"model.pt": "weights", "model.pt.old": "old", "dvc.yaml": text})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", copy=True)
        assert logged.dvc_file is None
        # The copy of a path with a similar name is no output.
        assert (await live.log_artifact("model.pt.old", copy=True)).dvc_file is not None
    directory = "dvclive/artifacts"
    assert tree(repo) == before | {
        f"{directory}/model.pt": "weights",
        f"{directory}/model.pt.old": "old",
        f"{directory}/model.pt.old.dvc": dvc_file("old", "model.pt.old"),
        f"{directory}/.gitignore": "/model.pt.old\n",
    }


@pytest.mark.usefixtures("in_pipeline")
async def test_a_path_tracked_by_dvc_add_is_tracked_again_with_advice(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {"model.pt": "weights"})
    dvc(repo, "add", "--quiet", "model.pt")
    write(repo, {"model.pt": "changed"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
    assert tree(repo) == before | {"model.pt.dvc": dvc_file("changed", "model.pt")}
    (message,) = messages(caplog)
    assert "dvc remove" in message
    assert "Add it as an output of the pipeline stage." in message


@pytest.mark.usefixtures("in_pipeline")
async def test_a_stage_file_that_dvc_cannot_read_is_our_error(repo: Path) -> None:
    write(repo, {"data": "data", "other/dvc.yaml": "stages:\n  s: [\n"})
    async with AsyncLive(root=repo) as live:
        for values in ({}, {"type": "m"}, {"copy": True}):
            with refused(repo, RepositoryError, match="other/dvc.yaml", objects=False):
                await live.log_artifact("data", **values)


TRAIN = """
import asyncio, pathlib
from asynclive import AsyncLive, RepositoryError

async def main():
    pathlib.Path("data").write_text("data")
    pathlib.Path("data_v2").write_text("data_v2")
    async with AsyncLive() as live:
        await asyncio.gather(*(live.log_artifact(p, type="dataset") for p in ("data", "data_v2")))

asyncio.run(main())
"""


async def test_a_real_pipeline_runs_and_is_clean_afterwards(repo: Path) -> None:
    """``dvc repro`` releases its lock while the command runs, and acquires it again later."""
    write(
        repo,
        {
            "train.py": TRAIN,
            "dvc.yaml": f"stages:\n  train:\n    cmd: {sys.executable} train.py\n"
            "    deps:\n    - train.py\n    outs:\n    - data_v2\n",
        },
    )
    process = await anyio.run_process([sys.executable, "-m", "dvc", "repro"], cwd=repo, check=False)
    assert process.returncode == 0, process.stderr.decode()
    after = tree(repo)
    assert after["data.dvc"] == dvc_file("data", "data")
    assert "data_v2.dvc" not in after
    assert YAML(typ="safe").load(after["dvc.yaml"])["artifacts"] == {
        name: {"path": name, "type": "dataset"} for name in ("data", "data_v2")
    }
    assert sorted(after[".gitignore"].splitlines()) == ["/data", "/data_v2"]
    assert "up to date" in dvc(repo, "status")
