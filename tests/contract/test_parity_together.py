"""Log many artifacts at once: compare with DVCLive, which logs one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Again, Case, Do, Log, Together
from parity import in_a_worker
from trees import NESTED, both, cache_type, config, files, noise, replace

pytestmark = [pytest.mark.anyio, in_a_worker]

# In separate directories: the order of lines in a shared .gitignore is not promised.
SHARDS = files(
    {f"out/{n}/shard.bin": noise(n * 1000, seed=n) for n in range(12)}
    | {f"trees/{n}/tree/{m}.txt": f"{n * m}\n" for n in range(4) for m in range(20)}
)
ALL_SHARDS = Together(
    *(
        Log(f"out/{n}/shard.bin", name=f"shard-{n}", type="dataset", meta={"n": n})
        for n in range(12)
    ),
    *(Log(f"trees/{n}/tree", labels=["tree"], name=f"tree-{n}") for n in range(4)),
)

CASES = [
    Case("together", SHARDS, (ALL_SHARDS,)),
    Case(
        "together, again after some changed",
        SHARDS,
        (
            ALL_SHARDS,
            Do(replace({"out/3/shard.bin": "changed", "trees/2/tree/1.txt": "changed"})),
            ALL_SHARDS,
            Again(),
            ALL_SHARDS,
        ),
    ),
    Case(
        "together, the same bytes everywhere",
        files({f"out/{n}/x/{m}.bin": "same" for n in range(8) for m in range(3)}),
        (Together(*(Log(f"out/{n}/x") for n in range(8))),),
    ),
    *(
        Case(f"together, {kind}", both(SHARDS, cache_type(kind)), (ALL_SHARDS,))
        for kind in ("hardlink", "symlink")
    ),
    Case(
        "together, with core.autostage",
        both(SHARDS, config("core", autostage="true")),
        (ALL_SHARDS,),
    ),
    Case(
        "together, some copied and some uncached",
        both(files(NESTED), SHARDS),
        (
            Together(
                Log("data", copy=True, type="dataset"),
                Log("out/0/shard.bin", type="model", name="shard", cache=False),
                Log("trees/0/tree", copy=True, cache=False, name="tree"),
                Log("trees/1/tree"),
            ),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_artifacts_logged_together_are_left_as_dvclive_leaves_them(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
