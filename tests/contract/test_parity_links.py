"""Log with every ``cache.type``: compare the link that replaces the file in the workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Again, Case, Do, Log, Step
from trees import NESTED, Setup, both, cache_type, files, links, remove, replace

pytestmark = pytest.mark.anyio

# All other parity tests use the default, "reflink,copy".
TYPES = ("copy", "hardlink", "symlink")

# Lists of types, tried in this order. They share most code with the single types above.
# "reflink" alone works on few file systems: elsewhere DVC tracks, and links nothing.
LISTS = ("hardlink,copy", "reflink,symlink", "symlink,hardlink,copy", "reflink")
SHAPES_OF_LISTS = (
    "a file",
    "an empty file",
    "an executable",
    "a directory",
    "a directory copied",
    "a changed directory",
)

TREE = files(
    {**NESTED, "data/run.sh": "#!\n", "data/void": ""},
    exec=("data/run.sh",),
    read_only=("data/sub/c.txt",),
)

SHAPES: dict[str, tuple[Setup, tuple[Step, ...]]] = {
    "a file": (files({"m.bin": "m"}), (Log("m.bin"),)),
    "a read-only file": (files({"m.bin": "m"}, read_only=("m.bin",)), (Log("m.bin"),)),
    "an empty file": (files({"void": ""}), (Log("void"),)),
    "an executable": (files({"run.sh": "#!\n"}, exec=("run.sh",)), (Log("run.sh"),)),
    "a directory": (TREE, (Log("data"),)),
    "an empty directory": (files({"data/": ""}), (Log("data"),)),
    "a file copied": (files({"m.bin": "m"}), (Log("m.bin", copy=True),)),
    "an executable copied": (files({"x": "x"}, exec=("x",)), (Log("x", copy=True),)),
    "a directory copied": (TREE, (Log("data", copy=True),)),
    "the same bytes in two files": (
        files({"a.bin": "same", "b.bin": "same"}),
        (Log("a.bin"), Log("b.bin")),
    ),
    "the same bytes twice in a directory": (
        files({"data/a": "same", "data/b": "same", "data/sub/c": "same"}),
        (Log("data"),),
    ),
    "a file in place and copied": (
        files({"m.bin": "m"}),
        (Log("m.bin"), Log("m.bin", copy=True)),
    ),
    "a file logged again": (files({"m.bin": "m"}), (Log("m.bin"), Again(), Log("m.bin"))),
    "an executable logged again": (
        files({"x": "x"}, exec=("x",)),
        (Log("x"), Again(), Log("x")),
    ),
    "a changed file": (
        files({"m.bin": "m"}),
        (Log("m.bin"), Do(replace({"m.bin": "changed"})), Log("m.bin")),
    ),
    "a directory logged again": (TREE, (Log("data"), Again(), Log("data"))),
    "a directory copied again": (
        TREE,
        (Log("data", copy=True), Again(), Log("data", copy=True)),
    ),
    "a changed directory": (
        TREE,
        (
            Log("data"),
            Do(remove("data/sub")),
            Do(replace({"data/z": "changed", "data/new/n": "n"})),
            Log("data"),
        ),
    ),
    "a file inside a tracked directory": (
        TREE,
        (Log("data"), Do(replace({"data/sub/c.txt": "changed"})), Log("data/sub/c.txt")),
    ),
    "an object that is in the cache already": (
        files({"m.bin": "m"}),
        (
            Log("m.bin"),
            Do(remove("m.bin", "m.bin.dvc", ".gitignore")),
            Do(files({"n.bin": "m"})),
            Again(),
            Log("n.bin"),
        ),
    ),
}

CASES = [
    Case(f"{kind}: {shape}", both(setup, cache_type(kind)), steps)
    for kind in (*TYPES, *LISTS)
    for shape, (setup, steps) in SHAPES.items()
    if kind in TYPES or shape in SHAPES_OF_LISTS
]

# With "hardlink", DVC makes the file behind the link an object of its cache: read-only, and
# changed by any later write. asynclive leaves that file alone: test_beyond_dvclive.py.
CASES += [
    case
    for kind in ("copy", "symlink")
    for case in (
        Case(
            f"{kind}: symlinks in a directory",
            both(
                files({**NESTED, "../outside/x": "x"}),
                links({"data/in": "a.txt", "data/out": "../../outside/x", "data/insub": "sub"}),
                cache_type(kind),
            ),
            (Log("data"),),
        ),
        Case(
            f"{kind}: a symlink to a file",
            both(files({"m.bin": "m"}), links({"latest.bin": "m.bin"}), cache_type(kind)),
            (Log("latest.bin"),),
        ),
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_artifact_is_linked_as_dvclive_links_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)


CHANGED_TYPE = [
    Case(
        f"cache.type changed from {old} to {new}: {what}",
        both(TREE, files({"m.bin": "m"}), cache_type(old)),
        (Log(path), Do(cache_type(new)), Again(), Log(path)),
    )
    for old, new in (
        ("hardlink", "copy"),
        ("symlink", "copy"),
        ("copy", "hardlink"),
        ("hardlink", "symlink"),
        ("symlink", "hardlink"),
    )
    for what, path in (("a file", "m.bin"), ("a directory", "data"))
]


@pytest.mark.parametrize("case", CHANGED_TYPE, ids=lambda case: case.name)
async def test_an_artifact_is_linked_anew_after_cache_type_changed(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
