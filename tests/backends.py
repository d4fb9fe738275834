"""Choose the event loops that a test runs on, and where the engine works.

Without a mark, a test of a coroutine runs on asyncio and on Trio. The fixtures ``anyio_backend``
in ``tests/contract`` and ``tests/faults`` choose otherwise for their folders.
"""

from __future__ import annotations

from typing import Literal

import pytest

BACKENDS = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

on_every_loop = pytest.mark.parametrize("anyio_backend", BACKENDS.values(), ids=BACKENDS)

# For a guarantee that does not depend on the event loop.
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])

on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])


def _ways(*pairs: tuple[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("anyio_backend", "way"),
        [pytest.param(BACKENDS[loop], way, id=f"{loop}-{way}") for loop, way in pairs],
    )


# How a call is cancelled, see `cancelling`. Trio has cancel scopes only.
three_ways = _ways(
    ("asyncio", "scope"),
    ("asyncio", "task.cancel"),
    ("asyncio", "wait_for"),
    ("uvloop", "scope"),
    ("uvloop", "task.cancel"),
    ("uvloop", "wait_for"),
    ("trio", "scope"),
)

# For a test whose subject is not how the event loop cancels.
each_way_once = _ways(("asyncio", "task.cancel"), ("asyncio", "wait_for"), ("trio", "scope"))

WAYS = {"asyncio": ("scope", "task.cancel", "wait_for"), "trio": ("scope",)}

Isolation = Literal["thread", "process"]

in_both = pytest.mark.parametrize("isolation", ["thread", "process"])
