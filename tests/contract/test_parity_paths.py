"""Log with every form of the path, the working directory and ``dir``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from case import Case, Log
from trees import ALL, FILES, TREE, both, files, links

pytestmark = pytest.mark.anyio

PATHS = [
    Case("an absolute path", FILES, (Log(lambda repo: str(repo / "model.bin"), type="model"),)),
    Case("a Path", FILES, (Log(Path("model.bin"), type="model"),)),
    Case("an absolute Path", TREE, (Log(lambda repo: repo / "data", type="dataset"),)),
    Case("a path with dots in it", TREE, (Log("./data/../model.bin", type="model"),)),
    Case(
        "from a subdirectory",
        files({"sub/m.bin": "m", "top.bin": "t"}),
        (Log("m.bin", type="model"), Log("../top.bin", type="model"), Log("m.bin", copy=True)),
        root="sub",
    ),
    Case(
        "from a directory reached by a symlink",
        both(TREE, links({"../link": "repo"})),
        ALL,
        root="../link",
    ),
    Case(
        "with dvc.yaml above a subdirectory",
        files({"sub/m.bin": "m"}),
        (Log("m.bin", type="model"),),
        root="sub",
        live={"dvcyaml": "../dvc.yaml"},
    ),
    Case(
        "inside a symlinked directory",
        both(files({"real/m.bin": "m"}), links({"link": "real"})),
        (Log("link/m.bin"),),
        refused=True,
    ),
    Case(
        "with the dir outside of the working directory",
        files({"sub/m.bin": "m"}),
        (Log("m.bin", type="model", copy=True),),
        root="sub",
        live={"dir": "../runs/a"},
    ),
    Case(
        "with an absolute copy source and dir with a slash",
        FILES,
        (Log(lambda repo: repo / "model.bin", type="model", copy=True),),
        live={"dir": "runs/a/"},
    ),
]


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case.name)
async def test_every_form_of_a_path_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
