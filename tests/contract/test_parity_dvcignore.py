"""Log with a ``.dvcignore``: leave ignored files out, refuse ignored artifacts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Case, Log
from trees import FILES, NESTED, TREE, both, cache_type, files

pytestmark = pytest.mark.anyio


IGNORED: dict[str, dict[str, str | bytes]] = {
    "files by pattern": {".dvcignore": "*.txt\n"},
    "a subdirectory": {".dvcignore": "/data/sub/\n"},
    "a subdirectory anywhere": {".dvcignore": "deep\n"},
    "all but some": {".dvcignore": "data/*\n!data/z\n"},
    "everything": {".dvcignore": "data/*\n"},
    "a pattern with comments and spaces": {".dvcignore": "# c\n\n*.bin  \n  \n/data/a.txt\n"},
}

DVCIGNORE = [
    *(
        Case(
            f".dvcignore: {what}",
            both(files(NESTED), files(patterns)),
            (Log("data"), Log("data", copy=True)),
        )
        for what, patterns in IGNORED.items()
    ),
    *(
        Case(
            f".dvcignore: {what}, in a parent directory",
            both(lambda repo: files(NESTED)(repo / "out"), files(patterns)),
            (Log("out/data"), Log("out/data", copy=True)),
        )
        for what, patterns in {
            "only there": {"out/.dvcignore": "*.bin\ndata/sub/c.txt\n"},
            "adding up": {".dvcignore": "*.bin\n", "out/.dvcignore": "c.txt\n"},
            "taken back": {".dvcignore": "*.txt\n", "out/.dvcignore": "!a.txt\n"},
        }.items()
    ),
    Case(
        ".dvcignore: one inside the directory",
        both(TREE, files({"data/.dvcignore": "*.bin\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: one inside a subdirectory",
        both(TREE, files({"data/sub/.dvcignore": "*.bin\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: the artifact itself",
        both(FILES, files({".dvcignore": "model.bin\n"})),
        (Log("model.bin"),),
        refused=True,
    ),
    Case(
        ".dvcignore: the directory itself",
        both(TREE, files({".dvcignore": "/data\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: a file inside a tracked directory",
        both(TREE, files({".dvcignore": "*.log\n", "data/x.log": "x"})),
        (Log("data"), Log("data/sub")),
    ),
    Case(
        ".dvcignore: links and objects that stay out of the cache",
        both(TREE, files({".dvcignore": "*.txt\n"}), cache_type("hardlink")),
        (Log("data"),),
    ),
]


@pytest.mark.parametrize("case", DVCIGNORE, ids=lambda case: case.name)
async def test_ignored_files_are_left_out_as_dvclive_leaves_them_out(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
