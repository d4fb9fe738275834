"""Tests of the search for objects in a listing, by the number of its requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from backends import on_asyncio
from cloud_store import CountingBudget, make_requests
from obstore.store import MemoryStore

from asynclive._remote.cloud import object_search
from asynclive._remote.cloud.object_search import ObjectSearch

pytestmark = [pytest.mark.anyio, on_asyncio]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read pages of a tenth of their size, for remotes of a tenth of the objects."""
    monkeypatch.setattr(object_search, "PAGE", 100)
    monkeypatch.setattr(object_search, "LARGEST_PAGE", 500)


def make_keys(count: int, kind: str = "") -> list[str]:
    hashes = (hashlib.md5(f"{kind}{number}".encode()).hexdigest() for number in range(count))
    return [f"{md5[:2]}/{md5[2:]}" for md5 in hashes]


async def search(stored: Iterable[str], wanted: list[str], skips: bool = True) -> int:
    """Search, check the outcome, and return the number of requests."""
    store = MemoryStore()
    there = set(stored)
    for key in there:
        await store.put_async(key, key.encode())
    budget = CountingBudget()
    found = await ObjectSearch(make_requests(store, budget), skips).run(wanted)
    assert {key: meta.size for key, meta in found.items()} == {
        key: len(key) for key in wanted if key in there
    }
    return budget.requests


async def test_few_objects_are_asked_for_one_by_one() -> None:
    keys = make_keys(5)
    assert await search(keys[:3], keys) == 5
    assert await search([], []) == 0


async def test_an_empty_remote_needs_one_request() -> None:
    assert await search([], make_keys(250)) == 1


async def test_a_remote_with_the_same_objects_is_listed_once() -> None:
    keys = make_keys(250)
    # Three pages, and one more at most for each segment that is listed in parallel.
    assert await search(keys, keys) <= 5


async def test_a_remote_with_many_other_objects_is_not_listed() -> None:
    keys = make_keys(60)
    stored = [*make_keys(2_400, "other"), *keys[:40]]
    assert await search(stored, keys) <= len(keys)


async def test_the_listing_skips_ahead_to_the_next_object() -> None:
    keys = make_keys(100)
    stored = [*make_keys(800, "other"), *keys]
    assert await search(stored, keys) <= 12


async def test_the_listing_of_a_directory_is_found_next_to_its_namesake() -> None:
    keys = make_keys(40)
    listings = [f"{key}.dir" for key in keys]
    assert await search([*keys, *listings[:10]], [*keys, *listings]) <= 2


async def test_a_remote_that_cannot_skip_is_listed_whole_if_that_takes_few_pages() -> None:
    keys = make_keys(60)
    assert await search([*keys, *make_keys(1_200, "other")], keys, skips=False) == 3
    assert await search(keys[:40], keys, skips=False) == 1


async def test_a_remote_that_cannot_skip_and_is_large_is_asked_one_by_one() -> None:
    keys = make_keys(60)
    stored = [*keys[:40], *make_keys(12_000, "other")]
    assert await search(stored, keys, skips=False) <= 61


async def test_objects_of_other_programs_do_not_stop_the_search() -> None:
    keys = make_keys(60)
    stored = [*keys, *(f"80/another-{number:04}" for number in range(1_200))]
    assert await search(stored, keys, skips=False) <= 61
    assert await search(stored, keys) <= 61
