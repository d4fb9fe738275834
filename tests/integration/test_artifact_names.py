"""Refuse an invalid explicit name; make a default name valid."""

from __future__ import annotations

from pathlib import Path

import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, refused, tree, write

from asynclive import AsyncLive, InvalidArtifactNameError

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("warns, and does not register the artifact"),
]

INVALID = [
    "my model",
    "model:v1",
    "model@v1",
    "model.pt",
    "-model",
    "model-",
    "_model",
    "/model",
    "model/",
    "模型",
    "model\n",
    "modèle",
    "..",
    "\N{FULLWIDTH LATIN SMALL LETTER A}",
]


async def test_an_invalid_name_is_refused(repo: Path) -> None:
    write(repo, {"model.pt": "weights", "dvc.yaml": "# mine\nartifacts: {}\n"})
    async with AsyncLive(root=repo) as live:
        for name in INVALID:
            with refused(repo, InvalidArtifactNameError, match="letters, numbers") as caught:
                await live.log_artifact("model.pt", type="model", name=name)
            assert caught.value.name == name
            assert repr(name) in str(caught.value)


@pytest.mark.parametrize(("copy", "cache"), [(False, True), (True, False)])
async def test_an_invalid_name_is_refused_before_any_io(
    repo: Path, copy: bool, cache: bool
) -> None:
    async with AsyncLive(root=repo) as live:
        call = live.log_artifact("missing.pt", name="my model", copy=copy, cache=cache)
        with refused(repo, InvalidArtifactNameError):
            # The first step of the coroutine: it has waited for no thread yet.
            call.send(None)


async def test_the_refusal_names_a_valid_name_nearby(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidArtifactNameError, match="For example: 'my-model-v1'"):
            await live.log_artifact("model.pt", name="my model@v1")
        assert (await live.log_artifact("model.pt", name="my-model-v1")).name == "my-model-v1"


async def test_a_name_that_is_no_str_is_refused(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidArtifactNameError, match="must be a str"):
            await live.log_artifact("model.pt", name=7)  # type: ignore[arg-type]


async def test_an_invalid_name_is_refused_where_no_dvc_yaml_is_written_too(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo, dvcyaml=None) as live:
        with refused(repo, InvalidArtifactNameError):
            await live.log_artifact("model.pt", name="my model")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        # tests/unit/_artifact/test_request.py has more of them.
        ("epoch=1-step=2.ckpt", "epoch-1-step-2"),
        ("modèle.tar.gz", "mod-le-tar"),
        (".hidden", "hidden"),
        ("MNIST", "MNIST"),
    ],
)
async def test_a_default_name_is_made_valid_and_returned(repo: Path, file: str, name: str) -> None:
    write(repo, {file: "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(file, type="model")
        assert logged.name == name
    assert tree(repo) == before | {
        f"{file}.dvc": dvc_file("weights", file),
        ".gitignore": f"/{file}\n",
        "dvc.yaml": f"artifacts:\n  {name}:\n    path: {file}\n    type: model\n",
    }


@pytest.mark.parametrize("file", ["模型.pt", "_.pt"])
async def test_a_path_without_a_default_name_needs_a_name_for_an_entry(
    repo: Path, file: str
) -> None:
    write(repo, {file: "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        with refused(repo, InvalidArtifactNameError, match="Pass name=") as caught:
            await live.log_artifact(file, type="model")
        assert str(repo / file) in str(caught.value)
        logged = await live.log_artifact(file, type="model", name="mine")
        assert logged.name == "mine"
    assert tree(repo) == before | {
        f"{file}.dvc": dvc_file("weights", file),
        ".gitignore": f"/{file}\n",
        "dvc.yaml": f"artifacts:\n  mine:\n    path: {file}\n    type: model\n",
    }


async def test_a_path_needs_no_name_without_an_entry(repo: Path) -> None:
    write(repo, {"模型.pt": "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("模型.pt")
        assert logged.name == "模型"
    assert tree(repo) == before | {
        "模型.pt.dvc": dvc_file("weights", "模型.pt"),
        ".gitignore": "/模型.pt\n",
    }


async def test_a_name_with_slashes_is_one_key(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", name="team/nlp/model-1_b")
        assert logged.name == "team/nlp/model-1_b"
    assert tree(repo)["dvc.yaml"] == "artifacts:\n  team/nlp/model-1_b:\n    path: model.pt\n"
