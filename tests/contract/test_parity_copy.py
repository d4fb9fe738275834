"""Log with ``copy=True`` and ``cache=False``: compare ``{dir}/artifacts`` and the tracked files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Again, Case, Do, Git, Log
from trees import MODEL, NESTED, both, cache_type, files, links, noise, remove, replace

pytestmark = pytest.mark.anyio

TREE = both(
    files(
        {**NESTED, "data/run.sh": "#!\n", "data/empty/": "", "data/void": ""},
        exec=("data/run.sh",),
        read_only=("data/sub/c.txt",),
    ),
    lambda repo: (repo / "data/z").chmod(0o600),
    lambda repo: (repo / "data/sub").chmod(0o750),
)
LINKED = both(
    files({**NESTED, "other/o": "o", "../outside/x/y": "y"}),
    links({"data/in": "a.txt", "data/insub": "sub", "data/next": "../other"}),
    links({"data/out": "../outside/x"}, absolute=True),
)

# DVC leaves out the nested repository in the old copy; the new copy has none.
NESTED_REPOSITORY = files({"data/a": "a", "data/r/.dvc/config": "", "data/r/b": "b"})

COPIED = (
    Case(
        "a directory copied over an older one that held a repository",
        NESTED_REPOSITORY,
        (Log("data", copy=True), Do(remove("data/r/.dvc")), Log("data", copy=True)),
    ),
    Case("a file copied", MODEL, (Log("model.bin", copy=True),)),
    Case("an empty file copied", files({"e": ""}), (Log("e", copy=True),)),
    Case("a directory copied", TREE, (Log("data", copy=True),), mtimes=True),
    Case("a directory copied, given with a slash", TREE, (Log("data/", copy=True),)),
    Case("an empty directory copied", files({"data/": ""}), (Log("data", copy=True),)),
    Case("an executable copied", files({"x": "x"}, exec=("x",)), (Log("x", copy=True),)),
    Case("a read-only file copied", files({"x": "x"}, read_only=("x",)), (Log("x", copy=True),)),
    Case("a large file copied", files({"b": noise(5_000_001)}), (Log("b", copy=True),)),
    Case(
        "a file from outside the repository copied",
        files({"../outside/m.bin": "m"}),
        (Log(lambda repo: repo.parent / "outside/m.bin", copy=True, type="model"),),
    ),
    Case(
        "a directory from outside the repository copied, by a relative path",
        files({"../outside/d/m.bin": "m"}),
        (Log("../outside/d", copy=True, type="dataset"),),
    ),
    Case(
        "a file that Git ignores copied",
        files({".gitignore": "/scratch/\n", "scratch/m.bin": "m"}),
        (Log("scratch/m.bin", copy=True),),
    ),
    Case("odd names copied", files({"my é\ndata/a\nb ü": "a"}), (Log("my é\ndata", copy=True),)),
    Case(
        "a symlink to a file copied",
        both(MODEL, links({"latest.bin": "model.bin"})),
        (Log("latest.bin", copy=True),),
    ),
    Case(
        "a symlink to a directory copied",
        both(TREE, links({"latest": "data"})),
        (Log("latest", copy=True),),
    ),
    Case("a directory with symlinks copied", LINKED, (Log("data", copy=True),), mtimes=True),
    Case("annotated by its copy", MODEL, (Log("model.bin", type="model", desc="d", copy=True),)),
    Case(
        "copied to another dir",
        MODEL,
        (Log("model.bin", type="model", copy=True),),
        live={"dir": "runs/a"},
    ),
    Case(
        "a directory copied to another dir, uncached",
        TREE,
        (Log("data", type="dataset", copy=True, cache=False),),
        live={"dir": "runs/a"},
        mtimes=True,
    ),
    Case(
        "several copied",
        both(MODEL, TREE, files({"x/other.bin": "o"})),
        (Log("model.bin", copy=True), Log("x/other.bin", copy=True), Log("data", copy=True)),
    ),
    Case(
        "a file copied that is tracked where it is",
        MODEL,
        (Log("model.bin", name="here"), Log("model.bin", name="there", copy=True)),
    ),
)

OVER_AN_OLDER_COPY = (
    Case(
        "a file copied again unchanged",
        MODEL,
        (Log("model.bin", copy=True), Again(), Log("model.bin", copy=True)),
    ),
    Case(
        "a file copied again after a change",
        MODEL,
        (
            Log("model.bin", copy=True),
            Do(replace({"model.bin": "better weights\n"})),
            Log("model.bin", copy=True),
        ),
    ),
    Case(
        "a directory copied again without some of its files",
        TREE,
        (
            Log("data", copy=True),
            Do(remove("data/a.txt", "data/sub")),
            Do(replace({"data/z": "changed", "data/new/n": "n"})),
            Log("data", copy=True),
        ),
        mtimes=True,
    ),
    Case(
        "a directory copied over stale files that nothing tracks",
        both(
            TREE, files({"dvclive/artifacts/data/stale": "s", "dvclive/artifacts/data/a.txt/": ""})
        ),
        (Log("data", copy=True),),
        mtimes=True,
    ),
    Case(
        "a file copied over a directory",
        both(MODEL, files({"dvclive/artifacts/model.bin/stale": "s"})),
        (Log("model.bin", copy=True),),
    ),
    Case(
        "a directory copied over a file",
        both(TREE, files({"dvclive/artifacts/data": "s"})),
        (Log("data", copy=True),),
    ),
    Case(
        "a file copied over a symlink",
        both(MODEL, files({"other": "o"}), links({"dvclive/artifacts/model.bin": "../../other"})),
        (Log("model.bin", copy=True),),
    ),
    Case(
        "a directory copied over a symlink to a directory",
        both(TREE, files({"other/o": "o"}), links({"dvclive/artifacts/data": "../../other"})),
        (Log("data", copy=True),),
    ),
    Case(
        "next to other files in artifacts",
        both(MODEL, files({"dvclive/artifacts/other": "o", "dvclive/plots/p.png": "p"})),
        (Log("model.bin", copy=True),),
    ),
    *(
        Case(
            f"a {what} copied over its protected {kind}",
            both(TREE, MODEL, cache_type(kind)),
            (
                Log(path, copy=True),
                Do(replace({f"{path}/a.txt" if path == "data" else path: "changed"})),
                Log(path, copy=True),
            ),
        )
        for kind in ("hardlink", "symlink")
        for what, path in (("file", "model.bin"), ("directory", "data"))
    ),
)

UNCACHED = (
    Case("a file, only annotated", MODEL, (Log("model.bin", type="model", cache=False),)),
    Case("a directory, only annotated", TREE, (Log("data", type="dataset", cache=False),)),
    Case("neither annotated nor cached", MODEL, (Log("model.bin", cache=False),)),
    Case(
        "a file copied, uncached", MODEL, (Log("model.bin", copy=True, cache=False),), mtimes=True
    ),
    Case(
        "a file copied and annotated, uncached",
        MODEL,
        (Log("model.bin", type="model", copy=True, cache=False),),
    ),
    Case("a directory copied, uncached", TREE, (Log("data", copy=True, cache=False),), mtimes=True),
    Case(
        "a directory with symlinks copied, uncached",
        LINKED,
        (Log("data", copy=True, cache=False),),
        mtimes=True,
    ),
    Case(
        "a symlink to a file copied, uncached",
        both(files({"run.sh": "#!\n"}, exec=("run.sh",)), links({"latest": "run.sh"})),
        (Log("latest", copy=True, cache=False),),
        mtimes=True,
    ),
    Case(
        "a directory copied again, uncached",
        TREE,
        (
            Log("data", copy=True, cache=False),
            Do(remove("data/sub")),
            Log("data", copy=True, cache=False),
        ),
        mtimes=True,
    ),
    Case(
        "a read-only file copied again, uncached",
        files({"x": "x"}, read_only=("x",)),
        (Log("x", copy=True, cache=False), Log("x", copy=True, cache=False)),
        mtimes=True,
    ),
    Case(
        "cached first, then only annotated",
        MODEL,
        (Log("model.bin", type="model"), Log("model.bin", type="model", desc="d", cache=False)),
    ),
    Case(
        "only annotated first, then cached",
        MODEL,
        (Log("model.bin", type="model", cache=False), Log("model.bin", type="model")),
    ),
    Case(
        "a file that Git tracks, only annotated",
        MODEL,
        (Git("add", "model.bin"), Log("model.bin", type="model", cache=False)),
    ),
)


@pytest.mark.parametrize(
    "case", [*COPIED, *OVER_AN_OLDER_COPY, *UNCACHED], ids=lambda case: case.name
)
async def test_copies_and_uncached_artifacts_are_left_as_dvclive_leaves_them(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
