"""Play one case of each kind of work on Trio, in threads and in a worker process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from backends import on_trio
from case import Again, Case, Do, Log, Together
from parity import in_both
from trees import ALL, FILES, TREE, both, cache_type, files, links, replace

pytestmark = pytest.mark.anyio

HAND_WRITTEN = """\
# mine
artifacts:
  other:
    path: other.bin  # kept
"""

CASES = [
    Case("every way to log", TREE, ALL),
    Case("every way to log, in new blocks", TREE, (*ALL, Again(), *ALL)),
    Case("every way to log, hardlinked", both(TREE, cache_type("hardlink")), ALL),
    Case(
        "together",
        TREE,
        (
            Together(
                Log("model.bin", type="model", meta={"loss": 0.25}),
                Log("run.sh", type="model", copy=True),
                Log("data", type="dataset", cache=False),
            ),
        ),
    ),
    Case(
        "changed between two calls",
        FILES,
        (
            Log("model.bin", type="model"),
            Do(replace({"model.bin": "better\n"})),
            Log("model.bin", type="model", desc="better"),
        ),
    ),
    Case(
        "an entry next to one that was written by hand",
        both(FILES, files({"dvc.yaml": HAND_WRITTEN})),
        (Log("model.bin", type="model", name="mine", labels=["a"]),),
    ),
    Case(
        "a directory with symlinks copied",
        both(TREE, links({"data/in": "a.txt", "data/insub": "sub"})),
        (Log("data", copy=True, cache=False),),
        mtimes=True,
    ),
    Case("no Git", TREE, ALL, kind="no-scm"),
]


@on_trio
@in_both
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_case_leaves_the_same_on_trio(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
