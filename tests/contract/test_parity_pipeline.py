"""Log inside a DVC pipeline, where ``DVC_ROOT`` is set: compare the files and the messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from case import Case, Dvc, Log
from trees import NESTED, both, files

pytestmark = pytest.mark.anyio

STAGES = """\
stages:
  train:
    cmd: python train.py
    outs:
    - model.bin
    - out/data
"""


def dvc_root(repo: Path) -> dict[str, str]:
    return {"DVC_ROOT": str(repo)}


SETUP = both(
    files({**NESTED, "dvc.yaml": STAGES, "model.bin": "m", "out/data/a": "a", "other.bin": "o"})
)

CASES = [
    Case(
        "an output of a stage",
        SETUP,
        (Log("model.bin"),),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "an output of a stage, annotated",
        SETUP,
        (Log("model.bin", type="model"), Log("out/data", type="dataset")),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "a file inside an output of a stage",
        SETUP,
        (Log("out/data/a", type="model"),),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "an output of a stage, by a Path",
        SETUP,
        (Log(lambda repo: repo / "model.bin"),),
        env=dvc_root,
        dirty=True,
    ),
    Case(
        "a path of no stage",
        SETUP,
        (Log("other.bin"), Log("data", type="dataset")),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "a path that is tracked outside the pipeline",
        SETUP,
        (Dvc("add", "other.bin"), Log("other.bin")),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "an output of a stage, copied",
        SETUP,
        (Log("model.bin", copy=True),),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
    Case(
        "a path in a pipeline without stages",
        files({"model.bin": "m"}),
        (Log("model.bin", type="model"),),
        env=dvc_root,
        messages=True,
    ),
    Case(
        "uncached in a pipeline",
        SETUP,
        (Log("model.bin", type="model", cache=False), Log("other.bin", cache=False)),
        env=dvc_root,
        messages=True,
        dirty=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_artifact_in_a_pipeline_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
