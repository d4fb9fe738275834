"""One push and several: the order, the proofs, errors, cancellation, and objects sent once."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest
from backends import WAYS, on_asyncio
from remotes import ScriptedStore, make_remote, make_unit

from asynclive._artifact.push_policy import Verify
from asynclive._artifact.push_records import PushObject, PushResult, PushUnit, RemoteDescription
from asynclive._errors import PushError, RemoteAccessError, RemoteVerifyError
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import MissingObjectError, UnreadableObjectError, WrongObjectError

pytestmark = [pytest.mark.anyio, on_asyncio]


class Setup:
    """A pusher with scripted stores, by the name of their remote."""

    def __init__(self, max_requests: int = 4) -> None:
        self.budget = RequestBudget(max_requests)
        self.stores: dict[str, ScriptedStore] = {}
        self.pusher = Pusher(self.open, self.budget)

    async def open(self, description: RemoteDescription) -> ScriptedStore:
        assert description.name not in self.stores or self.stores[description.name].is_closed
        store = self.stores[description.name] = ScriptedStore(self.budget)
        await asyncio.sleep(0)
        return store

    async def store(self, name: str = "r") -> ScriptedStore:
        await self.pusher.push([make_unit({}, make_remote(name))], "store", PushCounts())
        store = self.stores[name]
        for calls in (store.sent, store.begun, store.ended):
            calls.clear()
        return store

    async def push(self, *units: PushUnit, verify: Verify | None = "store") -> PushResult:
        return await self.pusher.push(units, verify, PushCounts())


FILES = {"a": b"a", "b": b"bb", "c": b"ccc"}


def names(unit: PushUnit) -> list[str]:
    return [obj.md5 for obj in unit.objects]


def listing(unit: PushUnit) -> PushObject:
    assert unit.listing is not None
    return unit.listing


async def test_missing_objects_are_sent_the_large_ones_first_and_the_listing_last() -> None:
    setup, unit = Setup(max_requests=1), make_unit(FILES)
    result = await setup.push(unit)
    store = setup.stores["r"]
    assert store.sent == [*reversed(names(unit)), listing(unit).md5]
    size = 6 + listing(unit).size
    assert result == PushResult("r", 4, size, 0, 0, "etag", "scripted", result.seconds)


async def test_objects_that_are_proven_are_skipped() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.proofs = dict.fromkeys([*names(unit), listing(unit).md5], "checksum")
    result = await setup.push(unit)
    assert store.sent == []
    assert (result.objects, result.bytes, result.skipped) == (0, 0, 4)
    assert result.verified_by == "checksum"


async def test_a_listing_in_the_remote_proves_nothing_about_its_files(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup, unit = Setup(max_requests=1), make_unit(FILES)
    store = await setup.store()
    store.proofs = {listing(unit).md5: "etag", names(unit)[0]: "etag", names(unit)[1]: None}
    with caplog.at_level(logging.WARNING):
        result = await setup.push(unit)
    assert store.sent == [names(unit)[2], names(unit)[1]]
    assert (result.objects, result.skipped) == (2, 2)
    [record] = caplog.records
    assert "data/b" in record.getMessage()
    assert "data/c" in record.getMessage()
    assert "data/a" not in record.getMessage()


async def test_the_weakest_proof_is_the_one_of_the_result() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.proofs = {names(unit)[0]: "size"}
    assert (await setup.push(unit)).verified_by == "size"


async def test_read_means_that_every_object_is_read_back() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.proofs = {names(unit)[0]: "etag", names(unit)[1]: "etag"}
    store.wrong = {names(unit)[1]}
    store.read.clear()
    result = await setup.push(unit, verify="read")
    assert sorted(store.sent) == sorted([*names(unit)[1:], listing(unit).md5])
    assert sorted({*store.read}) == sorted([*names(unit), listing(unit).md5])
    assert (result.objects, result.skipped, result.verified_by) == (3, 1, "read")


async def test_an_object_that_is_read_back_with_other_bytes_fails() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.always_wrong = {names(unit)[1]}
    with pytest.raises(RemoteVerifyError, match="data/b") as raised:
        await setup.push(unit, verify="read")
    assert [one.md5 for one in raised.value.failed] == [names(unit)[1]]
    assert listing(unit).md5 not in store.sent


async def test_a_failed_object_stops_its_listing_and_nothing_else() -> None:
    setup = Setup(max_requests=1)
    unit, other = make_unit(FILES), make_unit({"x": b"x"}, name="other")
    store = await setup.store()
    store.errors = {names(unit)[2]: ConnectionError("reset by peer")}
    with pytest.raises(PushError, match=r"data/c.*reset by peer") as raised:
        await setup.push(unit, other)
    assert type(raised.value) is PushError
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert store.sent == [*reversed(names(unit)[:2]), *names(other), listing(other).md5]
    [failed] = raised.value.failed
    assert failed == (names(unit)[2], "data/c", "reset by peer")


async def test_an_error_names_every_path_of_an_object() -> None:
    setup = Setup()
    unit, other = make_unit({"a": b"same", "b": b"same"}), make_unit({"c": b"same"}, name="other")
    store = await setup.store()
    store.errors = {names(unit)[0]: MissingObjectError("it is not in the cache")}
    with pytest.raises(PushError) as raised:
        await setup.push(unit, other)
    assert [one.path for one in raised.value.failed] == ["data/a", "data/b", "other/c"]
    assert store.begun[names(unit)[0]] == 1


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([WrongObjectError("w"), UnreadableObjectError("u")], RemoteVerifyError),
        ([WrongObjectError("w"), MissingObjectError("m")], PushError),
        ([OSError(28, "No space left on device")], PushError),
    ],
)
async def test_the_error_is_one_of_verification_if_all_objects_failed_by_their_bytes(
    errors: list[Exception], expected: type[PushError]
) -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.errors = dict(zip(names(unit), errors, strict=False))
    with pytest.raises(expected) as raised:
        await setup.push(unit)
    assert type(raised.value) is expected
    assert len(raised.value.failed) == len(errors)


async def test_a_remote_that_cannot_be_used_stops_the_push_at_once() -> None:
    setup, unit = Setup(max_requests=2), make_unit({str(n): b"0" * n for n in range(100)})
    store = await setup.store()
    error = RemoteAccessError("r", "the credentials are refused.")
    store.errors = {names(unit)[99]: error}
    with pytest.raises(RemoteAccessError) as raised:
        await setup.push(unit)
    assert raised.value is error
    assert len(store.begun) <= 5


async def test_an_error_of_looking_for_objects_is_a_push_error() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()

    async def fail(*_: object) -> dict[str, None]:
        raise ConnectionError("no route to host")

    store.find = fail  # type: ignore[method-assign]
    with pytest.raises(PushError, match="to the remote 'r': no route to host"):
        await setup.push(unit)


async def test_directories_share_a_listing_and_files() -> None:
    setup = Setup(max_requests=1)
    unit, twin = make_unit(FILES), make_unit(FILES)
    other = make_unit({"a": b"a", "x": b"xx"}, name="other")
    result = await setup.push(unit, twin, other)
    store = setup.stores["r"]
    assert len(store.sent) == len({*store.sent}) == result.objects == 6
    assert store.sent.index(listing(other).md5) > store.sent.index(names(other)[1])


async def test_a_file_alone_has_no_listing() -> None:
    setup = Setup()
    directory = make_unit({"a": b"a"})
    unit = PushUnit("/repo/a", directory.remote, "", directory.objects)
    result = await setup.push(unit)
    assert (result.objects, setup.stores["r"].sent) == (1, names(unit))


async def test_each_unit_goes_to_its_own_remote_and_a_store_is_opened_once() -> None:
    setup = Setup()
    units = [make_unit({"a": b"a"}, make_remote(name)) for name in "sts"]
    results: list[PushResult] = []

    async def push() -> None:
        results.append(await setup.push(*units))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        tasks.start_soon(push)
    assert {name: len(store.sent) for name, store in setup.stores.items()} == {"s": 2, "t": 2}
    assert [result.remote for result in results] == ["s, t", "s, t"]
    assert [result.backend for result in results] == ["scripted", "scripted"]
    await setup.pusher.aclose()
    assert all(store.is_closed for store in setup.stores.values())


async def test_a_remote_whose_options_have_changed_is_opened_again() -> None:
    setup = Setup()
    remote = make_remote()
    await setup.push(make_unit({}, remote))
    setup.stores.pop("r")
    changed = RemoteDescription(remote.name, remote.url, "local", remote.prefix, {"jobs": 2})
    await setup.push(make_unit({}, changed))
    assert setup.stores["r"].sent


async def test_progress_counts_proven_objects_and_the_bytes_of_those_in_flight() -> None:
    setup, unit = Setup(), make_unit({"a": b"0" * 10, "b": b"0" * 100, "c": b"0" * 1000})
    store, counts = await setup.store(), PushCounts()
    store.proofs = {names(unit)[0]: "etag"}
    store.gates = {md5: asyncio.Event() for md5 in names(unit)[1:]}
    seen: list[tuple[int, int]] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setup.pusher.push, [unit], "store", counts)
        for gate in (None, *store.gates.values()):
            if gate is not None:
                gate.set()
            await anyio.wait_all_tasks_blocked()
            seen.append((counts.objects_done, counts.bytes_done))
    size = listing(unit).size
    assert (counts.remote, counts.objects_total, counts.bytes_total) == ("r", 4, 1110 + size)
    assert seen == [(1, 10 + 50 + 500), (2, 10 + 100 + 500), (4, 1110 + size)]


async def test_bytes_of_an_object_that_fails_do_not_count() -> None:
    setup, unit = Setup(), make_unit({"a": b"0" * 10})
    store, counts = await setup.store(), PushCounts()
    store.errors = {names(unit)[0]: ConnectionError()}
    with pytest.raises(PushError, match="ConnectionError"):
        await setup.pusher.push([unit], "store", counts)
    assert (counts.objects_done, counts.bytes_done) == (0, 0)


# --- Several pushes --------------------------------------------------------------------------


async def test_an_object_in_flight_for_two_pushes_is_sent_once() -> None:
    setup = Setup()
    unit, other = make_unit(FILES), make_unit({"a": b"a", "x": b"x"}, name="other")
    store = await setup.store()
    gate = store.gates[names(unit)[0]] = asyncio.Event()
    results: list[PushResult] = []

    async def push(some: PushUnit) -> None:
        results.append(await setup.push(some))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push, unit)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(push, other)
        await anyio.wait_all_tasks_blocked()
        assert not [md5 for md5 in store.sent if md5.endswith(".dir")]
        gate.set()
    assert set(store.begun.values()) == {1}
    assert sorted((result.objects, result.skipped) for result in results) == [(2, 1), (4, 0)]


async def test_an_object_that_another_push_sent_since_it_was_looked_for_is_not_sent_again() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    store.find_gate = asyncio.Event()
    results: list[PushResult] = []

    async def push() -> None:
        results.append(await setup.push(unit))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        await anyio.wait_all_tasks_blocked()
        gate, store.find_gate = store.find_gate, None
        await setup.push(unit)
        gate.set()
    assert [(result.objects, result.skipped) for result in results] == [(0, 4)]
    assert len(store.sent) == 4


async def test_an_object_that_was_removed_between_two_pushes_is_sent_again() -> None:
    setup, unit = Setup(), make_unit(FILES)
    store = await setup.store()
    await setup.push(unit)
    del store.proofs[names(unit)[0]]
    assert (await setup.push(unit)).objects == 1


@pytest.mark.parametrize("way", WAYS["asyncio"][:2])
async def test_a_push_takes_over_the_object_of_a_cancelled_one(way: str) -> None:
    setup = Setup()
    unit, other = make_unit(FILES), make_unit({"a": b"a"}, name="other")
    store = await setup.store()
    store.gates[names(unit)[0]] = asyncio.Event()
    cancelled = Cancellable(setup, unit, way)
    await anyio.wait_all_tasks_blocked()
    results: list[PushResult] = []

    async def push() -> None:
        results.append(await setup.push(other))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        await anyio.wait_all_tasks_blocked()
        assert store.begun[names(unit)[0]] == 1
        gate = store.gates.pop(names(unit)[0])
        cancelled.cancel()
        await cancelled.end()
    assert not gate.is_set()
    assert store.begun[names(unit)[0]] == 2
    assert results[0].objects == 2


async def test_an_error_reaches_each_push_that_waits_for_the_object() -> None:
    setup = Setup()
    unit, other = make_unit(FILES), make_unit({"z": b"a"}, name="other")
    store = await setup.store()
    gate = store.gates[names(unit)[0]] = asyncio.Event()
    store.errors = {names(unit)[0]: MissingObjectError("it is not in the cache")}
    paths: list[str] = []

    async def push(some: PushUnit) -> None:
        with pytest.raises(PushError) as raised:
            await setup.push(some)
        paths.extend(one.path for one in raised.value.failed)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push, unit)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(push, other)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert sorted(paths) == ["data/a", "other/z"]
    assert store.begun[names(unit)[0]] == 1


# --- Cancellation and bounds -----------------------------------------------------------------


class Cancellable:
    """A push in a task of its own, cancelled by its scope or by ``task.cancel``."""

    def __init__(self, setup: Setup, unit: PushUnit, way: str) -> None:
        self._way = way
        self._scope = anyio.CancelScope()
        self._task = asyncio.ensure_future(self._push(setup, unit))

    async def _push(self, setup: Setup, unit: PushUnit) -> None:
        with self._scope:
            await setup.push(unit)

    def cancel(self) -> None:
        if self._way == "scope":
            self._scope.cancel()
        else:
            self._task.cancel()

    async def end(self) -> None:
        await asyncio.wait([self._task])
        assert self._task.cancelled() or self._scope.cancelled_caught


@pytest.mark.parametrize("way", WAYS["asyncio"][:2])
async def test_a_cancelled_push_waits_for_the_end_of_its_requests(way: str) -> None:
    setup, unit = Setup(max_requests=2), make_unit({str(n): b"0" * n for n in range(100)})
    store = await setup.store()
    store.gates = {md5: asyncio.Event() for md5 in names(unit)}
    clean = store.clean_gate = asyncio.Event()
    push = Cancellable(setup, unit, way)
    await anyio.wait_all_tasks_blocked()
    push.cancel()
    await anyio.wait_all_tasks_blocked()
    assert (store.begun.total(), store.ended.total()) == (2, 0)
    clean.set()
    await push.end()
    assert (store.begun.total(), store.ended.total()) == (2, 2)
    assert store.sent == []
    store.gates.clear()
    assert (await setup.push(unit)).objects == 101


@pytest.mark.parametrize("way", WAYS["asyncio"][:2])
async def test_a_push_that_is_cancelled_with_its_last_file_sends_no_listing(way: str) -> None:
    setup, unit = Setup(max_requests=1), make_unit({"a": b"a"})
    store = await setup.store()
    gate = store.gates[names(unit)[0]] = asyncio.Event()
    push = Cancellable(setup, unit, way)
    await anyio.wait_all_tasks_blocked()
    gate.set()
    push.cancel()
    await push.end()
    assert [*store.begun] == names(unit)


async def test_a_small_push_is_not_starved_by_a_large_one() -> None:
    setup = Setup(max_requests=2)
    large = make_unit({str(number): b"%d" % number for number in range(1000)})
    store = await setup.store()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setup.push, large)
        while len(store.sent) < 10:
            await asyncio.sleep(0)
        await setup.push(make_unit({"x": b"x"}, name="small"))
        assert len(store.sent) < 100


async def test_the_tasks_of_a_push_are_bounded_by_the_permits() -> None:
    setup = Setup(max_requests=3)
    unit = make_unit({str(number): b"%d" % number for number in range(1000)})
    store = await setup.store()
    most = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setup.push, unit)
        while len(store.sent) < 1001:
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0)
    assert store.most_at_once == 3
    assert most <= 3 + 4
