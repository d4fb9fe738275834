"""Log into caches of every kind: external, shared, reached by links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from case import Case
from parity import in_a_worker_too
from trees import ALL, TREE, both, cache_type, config, files, links

pytestmark = [pytest.mark.anyio, in_a_worker_too]


def _config_local(repo: Path) -> None:
    (repo / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n")


CACHE = [
    Case("an external cache", both(TREE, config("cache", dir="../../cache")), ALL),
    Case(
        "an external cache by an absolute path",
        both(TREE, lambda repo: config("cache", dir=str(repo.parent / "cache"))(repo)),
        ALL,
    ),
    Case(
        "an external cache that holds the objects already",
        both(
            TREE,
            config("cache", dir="../../cache"),
            files({"../cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3": "a\n"}),
            lambda repo: (repo.parent / "cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3").chmod(
                0o444
            ),
        ),
        ALL,
    ),
    *(
        Case(
            f"an external cache, {kind}",
            both(TREE, config("cache", dir="../../cache"), cache_type(kind)),
            ALL,
        )
        for kind in ("hardlink", "symlink")
    ),
    *(
        Case(
            f"a shared group, {kind}",
            both(TREE, config("cache", shared="group"), cache_type(kind)),
            ALL,
        )
        for kind in ("copy", "hardlink", "symlink")
    ),
    Case(
        "a shared external cache",
        both(TREE, config("cache", shared="group", dir="../../cache")),
        ALL,
    ),
    Case("config.local", both(TREE, _config_local), ALL),
    Case(
        "a cache.dir that is a symlink",
        both(TREE, files({"../cache/": ""}), links({".dvc/cache": "../../cache"})),
        ALL,
    ),
]


@pytest.mark.parametrize("case", CACHE, ids=lambda case: case.name)
async def test_every_cache_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
