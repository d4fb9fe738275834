"""A call logs the path and the metadata that it was given, whatever changes before the commit.

DVC's lock, held by another process, stands between the call and its commit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, tree, write
from gate import locked

from asynclive import AsyncLive

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("reads paths and metadata when it writes dvc.yaml"),
]


async def test_a_call_ignores_metadata_changed_after_it_began(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    labels = ["a"]
    meta: dict[str, Any] = {"of": {"steps": [1]}}
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            begun = anyio.Event()

            async def log() -> None:
                begun.set()  # switches to no other task
                await live.log_artifact("model.pt", labels=labels, meta=meta)

            task_group.start_soon(log)
            await begun.wait()
            labels.append("b")
            meta["of"]["steps"].append(2)
            meta["more"] = object()
            gate.open()
    assert tree(repo)["dvc.yaml"] == (
        "artifacts:\n  model:\n    path: model.pt\n    labels:\n    - a\n"
        "    meta:\n      of:\n        steps:\n        - 1\n"
    )


class MutablePath:
    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


async def test_a_call_ignores_a_path_object_changed_after_it_began(repo: Path) -> None:
    write(repo, {"one.pt": "one", "two.pt": "two"})
    before = tree(repo)
    path = MutablePath("one.pt")
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            begun = anyio.Event()

            async def log() -> None:
                begun.set()
                await live.log_artifact(path, type="m")

            task_group.start_soon(log)
            await begun.wait()
            path.path = "two.pt"
            gate.open()
    assert tree(repo) == before | {
        "one.pt.dvc": dvc_file("one", "one.pt"),
        ".gitignore": "/one.pt\n",
        "dvc.yaml": "artifacts:\n  one:\n    path: one.pt\n    type: m\n",
    }


@pytest.mark.parametrize("copy", [False, True])
async def test_root_is_the_working_directory_of_the_construction(
    repo: Path, monkeypatch: pytest.MonkeyPatch, copy: bool
) -> None:
    write(repo, {"project/model.pt": "weights", "project/model2.pt": "weights"})
    elsewhere = repo.parent / "elsewhere"
    write(elsewhere, {"model.pt": "not this one"})
    before = tree(repo)
    monkeypatch.chdir(repo / "project")
    live = AsyncLive()
    monkeypatch.chdir(repo)
    with locked(repo) as gate:
        async with live, anyio.create_task_group() as task_group:
            begun = anyio.Event()

            async def log() -> None:
                begun.set()
                await live.log_artifact("model.pt", type="m", copy=copy)

            task_group.start_soon(log)
            await begun.wait()
            os.chdir(elsewhere)
            gate.open()
        assert Path.cwd() == elsewhere
    path = "dvclive/artifacts/model.pt" if copy else "model.pt"
    directory = f"project/{path}".removesuffix("/model.pt")
    assert tree(repo) == before | {
        f"{directory}/model.pt": "weights",
        f"{directory}/model.pt.dvc": dvc_file("weights", "model.pt"),
        f"{directory}/.gitignore": "/model.pt\n",
        "project/dvc.yaml": f"artifacts:\n  model:\n    path: {path}\n    type: m\n",
    }
    assert tree(elsewhere) == {"model.pt": "not this one"}


async def test_a_call_has_logged_the_bytes_when_it_returns(repo: Path) -> None:
    """The program may write the next checkpoint to the path as soon as the call has returned."""
    write(repo, {"model.pt": "step 1"})
    async with AsyncLive(root=repo) as live:
        for step in range(1, 6):
            write(repo, {"model.pt": f"step {step}"})
            logged = await live.log_artifact("model.pt", name=f"step-{step}", copy=f"{step}")
            write(repo, {"model.pt": "half wri"})
            assert logged.path.read_text() == f"step {step}"
            assert (repo / f"dvclive/artifacts/{step}/model.pt.dvc").read_text() == dvc_file(
                f"step {step}", "model.pt"
            )


async def test_a_bad_argument_is_refused_before_any_io(
    repo: Path,
) -> None:
    async with AsyncLive(root=repo) as live:
        for path in (b"model.pt", 7, None, object(), Path):
            with pytest.raises(TypeError, match="has not supported type") as caught:
                live.log_artifact(path).send(None)  # type: ignore[arg-type]
            assert str(caught.value) == f"Data '{path}' has not supported type {path.__class__}"
