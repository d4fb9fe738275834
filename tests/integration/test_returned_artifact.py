"""Return the logged artifact, with everything on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import anyio
import pytest
from differences import differs_from_dvclive
from disk import dir_object, dvc_file, md5, objects, tree, write

from asynclive import AsyncLive, LoggedArtifact

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("returns None, and writes dvc.yaml at ``next_step`` or ``end``"),
]

META = {"lr": 0.1, "layers": [1, 2], "of": {"seed": 7}}


async def test_logging_a_file_returns_its_record_with_everything_on_disk(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(
            "model.pt", type="model", name="mymodel", desc="Tuned", labels=["a", "b"], meta=META
        )
        now = tree(repo)
    assert logged == LoggedArtifact(
        name="mymodel",
        path=repo / "model.pt",
        type="model",
        desc="Tuned",
        labels=["a", "b"],
        meta=META,
        md5=md5("weights"),
        size=7,
        nfiles=1,
        dvc_file=repo / "model.pt.dvc",
    )
    assert now == before | {
        "model.pt.dvc": dvc_file("weights", "model.pt"),
        ".gitignore": "/model.pt\n",
        "dvc.yaml": (
            "artifacts:\n"
            "  mymodel:\n"
            "    path: model.pt\n"
            "    type: model\n"
            "    desc: Tuned\n"
            "    labels:\n"
            "    - a\n"
            "    - b\n"
            "    meta:\n"
            "      lr: 0.1\n"
            "      layers:\n"
            "      - 1\n"
            "      - 2\n"
            "      of:\n"
            "        seed: 7\n"
        ),
    }
    # Leaving the block changes no file.
    assert tree(repo) == now
    assert objects(repo) == {md5("weights"): b"weights"}


async def test_logging_a_directory_returns_its_hash_size_and_number_of_files(repo: Path) -> None:
    write(repo, {"data/a": "one", "data/sub/b": "three", "data/sub/c": ""})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(repo / "data")
    name, listing = dir_object({"a": "one", "sub/b": "three", "sub/c": ""})
    assert logged == LoggedArtifact(
        name="data",
        path=repo / "data",
        type=None,
        desc=None,
        labels=None,
        meta=None,
        md5=name,
        size=8,
        nfiles=3,
        dvc_file=repo / "data.dvc",
    )
    assert tree(repo) == before | {
        "data.dvc": f"outs:\n- md5: {name}\n  size: 8\n  nfiles: 3\n  hash: md5\n  path: data\n",
        ".gitignore": "/data\n",
    }
    assert objects(repo) == {
        name: listing,
        **{md5(text): text.encode() for text in ("one", "three", "")},
    }


async def test_logging_a_copy_returns_the_path_of_the_copy(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with AsyncLive("out", root=repo) as live:
        logged = await live.log_artifact("model.pt", type="model", copy=True)
    assert logged.path == repo / "out/artifacts/model.pt"
    assert logged.dvc_file == repo / "out/artifacts/model.pt.dvc"
    assert (logged.name, logged.md5, logged.size) == ("model", md5("weights"), 7)
    assert tree(repo) == before | {
        "out/artifacts/model.pt": "weights",
        "out/artifacts/model.pt.dvc": dvc_file("weights", "model.pt"),
        "out/artifacts/.gitignore": "/model.pt\n",
        "dvc.yaml": "artifacts:\n  model:\n    path: out/artifacts/model.pt\n    type: model\n",
    }


@pytest.mark.parametrize("copy", [False, True])
async def test_an_uncached_artifact_has_no_hash_and_no_dvc_file(repo: Path, copy: bool) -> None:
    write(repo, {"data/a": "one", "data/b": "three"})
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("data", labels=["raw"], copy=copy, cache=False)
    path = "dvclive/artifacts/data" if copy else "data"
    assert logged == LoggedArtifact(
        name="data",
        path=repo / path,
        type=None,
        desc=None,
        labels=["raw"],
        meta=None,
        md5=None,
        size=8,
        nfiles=2,
        dvc_file=None,
    )
    copies = {f"{path}/a": "one", f"{path}/b": "three"} if copy else {}
    assert tree(repo) == before | copies | {
        "dvc.yaml": f"artifacts:\n  data:\n    path: {path}\n    labels:\n    - raw\n"
    }
    assert objects(repo) == {}


async def test_a_path_inside_a_tracked_directory_returns_the_file_that_tracks_it(
    repo: Path,
) -> None:
    write(repo, {"data/a": "one", "data/b": "two"})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("data")
        write(repo, {"data/a": "changed"})
        before = tree(repo)
        logged = await live.log_artifact("data/a", type="part")
    assert (logged.path, logged.dvc_file) == (repo / "data/a", repo / "data.dvc")
    assert (logged.md5, logged.size, logged.nfiles) == (md5("changed"), 7, 1)
    whole = dir_object({"a": "changed", "b": "two"})[0]
    assert tree(repo) == before | {
        # As DVC writes it: without the size, which is unknown now.
        "data.dvc": f"outs:\n- md5: {whole}\n  nfiles: 2\n  hash: md5\n  path: data\n",
        "dvc.yaml": "artifacts:\n  a:\n    path: data/a\n    type: part\n",
    }


async def test_the_record_is_frozen_and_its_values_are_copies(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    labels, meta = ["a"], {"of": {"seed": 7}}
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact("model.pt", labels=labels, meta=meta)
    labels.append("b")
    meta["of"]["seed"] = 8
    assert (logged.labels, logged.meta) == (["a"], {"of": {"seed": 7}})
    for field in dataclasses.fields(logged):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(logged, field.name, None)


async def test_dvc_yaml_has_each_entry_when_its_call_returns(repo: Path) -> None:
    names = [f"shard-{number}" for number in range(12)]
    write(repo, {f"{name}.bin": name for name in names})
    seen: dict[str, bool] = {}

    async with AsyncLive(root=repo) as live:

        async def log(name: str) -> None:
            await live.log_artifact(f"{name}.bin", type="shard")
            there = tree(repo)
            seen[name] = (
                f"  {name}:\n    path: {name}.bin\n    type: shard\n" in there["dvc.yaml"]
                and there[f"{name}.bin.dvc"] == dvc_file(name, f"{name}.bin")
                and f"/{name}.bin\n" in there[".gitignore"]
            )

        async with anyio.create_task_group() as task_group:
            for name in names:
                task_group.start_soon(log, name)
    assert seen == dict.fromkeys(names, True)


async def test_dvcyaml_none_returns_the_same_record_and_writes_no_dvc_yaml(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    async with AsyncLive(root=repo, dvcyaml=None) as live:
        logged = await live.log_artifact("model.pt", type="model", name="mymodel")
    assert (logged.name, logged.type, logged.md5) == ("mymodel", "model", md5("weights"))
    assert tree(repo) == before | {
        "model.pt.dvc": dvc_file("weights", "model.pt"),
        ".gitignore": "/model.pt\n",
    }
