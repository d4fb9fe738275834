"""Random pushes at the same time, with failures, wrong objects and cancellations.

At each moment: no listing is in the remote before all of its files are proven, no object is sent
twice at a time, and the counts of each push add up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import anyio
import pytest
from backends import on_asyncio
from remotes import ScriptedStore, make_remote, make_unit

from asynclive._artifact.push_policy import Verify
from asynclive._artifact.push_records import PushObject, PushUnit, RemoteDescription
from asynclive._errors import PushError, RemoteAccessError
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import MissingObjectError, OnBytes, Sent, WrongObjectError

pytestmark = [pytest.mark.anyio, on_asyncio]


FAILURES = ConnectionError("reset"), MissingObjectError("gone"), WrongObjectError("other")


class CheckedStore(ScriptedStore):
    """A store that takes a random time, fails at random, and checks each object that is sent."""

    def __init__(self, budget: RequestBudget, rng: random.Random, units: list[PushUnit]) -> None:
        super().__init__(budget)
        self.rng = rng
        self.files = {
            unit.listing.md5: [obj.md5 for obj in unit.objects]
            for unit in units
            if unit.listing is not None
        }
        self.in_flight: set[str] = set()
        self.violations: list[str] = []

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        # A pusher takes an error that is raised here for that of the object.
        if obj.md5 in self.in_flight:
            self.violations.append(f"{obj.md5} is sent twice at a time")
        if not all(self.proofs.get(md5) for md5 in self.files.get(obj.md5, ())):
            self.violations.append(f"{obj.md5} is sent before its files")
        self.in_flight.add(obj.md5)
        try:
            for _ in range(self.rng.choice((0, 0, 1, 5))):
                await asyncio.sleep(0)
            if self.rng.random() < 0.02:
                raise self.rng.choice(
                    (
                        ConnectionError("reset"),
                        MissingObjectError("gone"),
                        WrongObjectError("other"),
                    )
                )
            if self.rng.random() < 0.002:
                raise RemoteAccessError("r", "refused.")
            return await super().send(obj, source, on_bytes)
        finally:
            self.in_flight.remove(obj.md5)


def make_units(rng: random.Random, remote: RemoteDescription) -> list[PushUnit]:
    """Make directories and files that share some of their objects."""
    units = []
    for number in range(6):
        files = {
            str(at): b"%d" % rng.randrange(60) * rng.randrange(1, 3)
            for at in range(rng.randrange(0, 25))
        }
        unit = make_unit(files, remote, name=f"data{number}")
        if rng.random() < 0.3:
            unit = PushUnit(unit.path, unit.remote, unit.cache_dir, unit.objects[:1])
        units.append(unit)
    return units


def objects_of(units: Sequence[PushUnit]) -> set[str]:
    return {obj.md5 for unit in units for obj in (*unit.objects, unit.listing) if obj is not None}


@pytest.mark.parametrize("seed", range(60))
async def test_listings_come_last_and_the_counts_add_up(seed: int) -> None:
    rng = random.Random(seed)
    units = make_units(rng, make_remote())
    budget = RequestBudget(rng.choice((1, 3, 16)))
    store = CheckedStore(budget, rng, units)
    for md5 in sorted(objects_of(units)):
        state = rng.choice(("missing", "missing", "there", "wrong"))
        if state != "missing":
            store.proofs[md5] = "etag" if state == "there" else None

    async def open_store(_: RemoteDescription) -> CheckedStore:
        return store

    pusher = Pusher(open_store, budget)
    outcomes: list[str] = []

    async def push(scope: anyio.CancelScope) -> None:
        for _ in range(rng.randrange(20)):
            await asyncio.sleep(0)
        some = rng.sample(units, rng.randrange(1, len(units) + 1))
        verify: Verify | None = rng.choice(("store", "store", "read", None))
        counts, total = PushCounts(), len(objects_of(some))
        failed: set[str] | None = None
        result = None
        with scope:
            try:
                result = await pusher.push(some, verify, counts)
            except RemoteAccessError:
                failed = set()
            except PushError as error:
                failed = {one.md5 for one in error.failed}
        outcomes.append("cancelled" if scope.cancelled_caught else "ended")
        if failed is not None:
            assert failed <= objects_of(some)
        elif result is not None:
            assert result.objects + result.skipped == counts.objects_done == total
            assert counts.bytes_done == counts.bytes_total
            assert all(store.proofs[md5] for md5 in objects_of(some))
            assert (result.verified_by == "read") is (verify == "read")

    scopes = [anyio.CancelScope() for _ in range(8)]
    async with anyio.create_task_group() as tasks:
        for scope in scopes:
            tasks.start_soon(push, scope)
        for scope in rng.sample(scopes, 2):
            for _ in range(rng.randrange(30)):
                await asyncio.sleep(0)
            scope.cancel()
    assert len(outcomes) == len(scopes)
    assert not store.in_flight
    assert store.violations == []
    assert (budget._in_use, budget._waiting) == (0, {})
