"""Log an artifact again: unchanged, changed, as another kind, after DVC tracked it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from case import Again, Case, Do, Dvc, Git, Log
from parity import in_a_worker
from trees import MODEL, NESTED, both, config, files, links, remove, replace

pytestmark = [pytest.mark.anyio, in_a_worker]

TREE = files({**NESTED, "data/run.sh": "#!\n"}, exec=("data/run.sh",))
HAND = both(MODEL, config("'remote \"elsewhere\"'", url="../../elsewhere"))


def annotate_by_hand(repo: Path) -> None:
    path = repo / "model.bin.dvc"
    path.write_text(
        "# Where it came from\n"
        + path.read_text()
        + "  desc: written by hand  # and kept\n"
        + "  type: model\n"
        + "  labels:\n  - mine\n"
        + "  remote: elsewhere\n"
        + "meta:\n  owner: me  # too\n"
        + "desc: of the stage\n"
    )


AGAIN = [
    Case("a file again, unchanged", MODEL, (Log("model.bin"), Log("model.bin"))),
    Case("a file in a new block, unchanged", MODEL, (Log("model.bin"), Again(), Log("model.bin"))),
    Case(
        "a file overwritten in place",
        MODEL,
        (Log("model.bin"), Do(files({"model.bin": "better\n"})), Log("model.bin")),
    ),
    Case(
        "a file overwritten with the same bytes",
        MODEL,
        (Log("model.bin"), Do(replace({"model.bin": "weights\n"})), Log("model.bin")),
    ),
    Case(
        "a file replaced in a new block",
        MODEL,
        (Log("model.bin"), Again(), Do(replace({"model.bin": "better\n"})), Log("model.bin")),
    ),
    Case(
        "a file changed and changed back",
        MODEL,
        (
            Log("model.bin"),
            Do(replace({"model.bin": "better\n"})),
            Log("model.bin"),
            Do(replace({"model.bin": "weights\n"})),
            Log("model.bin"),
        ),
    ),
    Case(
        "a file that became executable",
        MODEL,
        (Log("model.bin"), Do(lambda repo: (repo / "model.bin").chmod(0o755)), Log("model.bin")),
    ),
    Case(
        "a file that is no longer executable",
        files({"run.sh": "#!\n"}, exec=("run.sh",)),
        (Log("run.sh"), Do(lambda repo: (repo / "run.sh").chmod(0o644)), Log("run.sh")),
    ),
    Case("a directory again, unchanged", TREE, (Log("data"), Log("data"))),
    Case(
        "a directory with files changed, new and gone",
        TREE,
        (
            Log("data"),
            Do(remove("data/sub", "data/z")),
            Do(replace({"data/a.txt": "changed", "data/new/deep/n": "n"})),
            Log("data"),
        ),
    ),
    Case(
        "a directory emptied",
        TREE,
        (Log("data"), Do(remove("data")), Do(files({"data/": ""})), Log("data")),
    ),
    Case(
        "a file that became a directory",
        files({"thing": "file"}),
        (Log("thing"), Do(remove("thing")), Do(files({"thing/a": "a"})), Log("thing")),
    ),
    Case(
        "a directory that became a file",
        files({"thing/a": "a"}),
        (Log("thing"), Do(remove("thing")), Do(files({"thing": "file"})), Log("thing")),
    ),
    Case(
        "a file that became a symlink",
        files({"model.bin": "m", "other.bin": "o"}),
        (
            Log("model.bin"),
            Do(remove("model.bin")),
            Do(links({"model.bin": "other.bin"})),
            Log("model.bin"),
        ),
    ),
    Case(
        "a file that `dvc add` added",
        MODEL,
        (Dvc("add", "model.bin"), Do(replace({"model.bin": "better\n"})), Log("model.bin")),
    ),
    Case(
        "a file committed to Git with its .dvc",
        MODEL,
        (
            Dvc("add", "model.bin"),
            Git("add", "--all"),
            Git("commit", "--quiet", "--message=Add"),
            Do(replace({"model.bin": "better\n"})),
            Log("model.bin", type="model"),
        ),
    ),
    Case(
        "a file that `dvc add` added in between",
        files({"a.bin": "a", "b.bin": "b"}),
        (Log("a.bin"), Dvc("add", "b.bin"), Log("b.bin")),
    ),
    Case(
        "a .dvc file that was written on by hand",
        HAND,
        (
            Log("model.bin"),
            Do(annotate_by_hand),
            Do(replace({"model.bin": "better\n"})),
            Log("model.bin"),
        ),
    ),
    Case(
        "a .dvc file that was written on by hand, unchanged data",
        HAND,
        (Log("model.bin"), Do(annotate_by_hand), Log("model.bin")),
    ),
    Case(
        "a .dvc file whose .gitignore line is gone",
        MODEL,
        (Log("model.bin"), Do(remove(".gitignore")), Log("model.bin")),
    ),
    Case(
        "an object that is gone from the cache",
        MODEL,
        (Log("model.bin"), Again(), Do(remove(".dvc/cache")), Log("model.bin")),
    ),
]


@pytest.mark.parametrize("case", AGAIN, ids=lambda case: case.name)
async def test_an_artifact_logged_again_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
