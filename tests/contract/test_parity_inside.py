"""Log a path inside a tracked directory: update the .dvc of the directory for that path alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Again, Case, Do, Dvc, Log
from trees import NESTED, files, remove, replace

pytestmark = pytest.mark.anyio

TREE = files({**NESTED, "data/run.sh": "#!\n"}, exec=("data/run.sh",))

CASES = [
    Case(
        "a changed file inside a tracked directory",
        TREE,
        (Log("data"), Do(replace({"data/sub/c.txt": "changed"})), Log("data/sub/c.txt")),
    ),
    Case(
        "an unchanged file inside a tracked directory",
        TREE,
        (Log("data"), Log("data/sub/c.txt")),
    ),
    Case(
        "a new file inside a tracked directory",
        TREE,
        (Log("data"), Do(files({"data/new/n.txt": "n"})), Log("data/new/n.txt")),
    ),
    Case(
        "a new executable inside a tracked directory",
        TREE,
        (Log("data"), Do(files({"data/x": "x"}, exec=("data/x",))), Log("data/x")),
    ),
    Case(
        "a new empty file inside a tracked directory",
        TREE,
        (Log("data"), Do(files({"data/new": ""})), Log("data/new")),
    ),
    Case(
        "a subdirectory of a tracked directory",
        TREE,
        (
            Log("data"),
            Do(replace({"data/sub/c.txt": "changed", "data/sub/new": "n"})),
            Do(remove("data/sub/deep")),
            Log("data/sub"),
        ),
    ),
    Case(
        "a new subdirectory of a tracked directory",
        TREE,
        (Log("data"), Do(files({"data/new/n": "n", "data/new/m/m": "m"})), Log("data/new")),
    ),
    Case(
        "a new empty subdirectory of a tracked directory",
        TREE,
        (Log("data"), Do(files({"data/new/": ""})), Log("data/new")),
    ),
    Case(
        "other changes inside are left alone",
        TREE,
        (
            Log("data"),
            Do(replace({"data/a.txt": "changed, not logged", "data/z": "logged"})),
            Log("data/z"),
        ),
        dirty=True,
    ),
    Case(
        "the rest of a tracked directory is not there",
        TREE,
        (Log("data"), Do(remove("data")), Do(files({"data/n": "n"})), Log("data/n")),
        dirty=True,
    ),
    Case(
        "several inside, one after the other, in one block",
        TREE,
        (
            Log("data"),
            Do(replace({"data/a.txt": "1", "data/sub/c.txt": "2", "data/new": "3"})),
            Log("data/a.txt"),
            Log("data/new"),
            Log("data/sub"),
        ),
    ),
    Case(
        "a file inside, in a new block, then the directory",
        TREE,
        (
            Log("data"),
            Again(),
            Do(replace({"data/a.txt": "changed", "data/z": "changed"})),
            Log("data/a.txt"),
            Log("data"),
        ),
    ),
    Case(
        "a file inside, annotated",
        TREE,
        (
            Log("data", type="dataset"),
            Do(replace({"data/a.txt": "changed"})),
            Log("data/a.txt", type="model", name="inner", desc="inside"),
        ),
    ),
    Case(
        "a file inside a directory that `dvc add` added",
        TREE,
        (Dvc("add", "data"), Do(replace({"data/a.txt": "changed"})), Log("data/a.txt")),
    ),
    Case(
        "a file inside a copied directory",
        TREE,
        (
            Log("data", copy=True),
            Do(replace({"dvclive/artifacts/data/a.txt": "changed"})),
            Log("dvclive/artifacts/data/a.txt"),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_path_in_a_tracked_directory_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
