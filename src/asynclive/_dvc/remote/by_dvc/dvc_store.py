"""DvcStore: a remote that asynclive does not send to itself, by DVC's own classes.

The order, the proofs and the permits are those of every push. DVC's classes block, so each request
runs in a thread. They hold no lock of DVC's, and share no ``Repo`` with other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio

from ...._artifact.push_policy import Verify
from ...._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from ...._remote.request_budget import RequestBudget
from ...._remote.store import OnBytes, Sent, SourceOf, WrongObjectError
from ...._workers.bounded_gather import run_together
from ...._workers.thread_start import run_in_any_thread, run_in_thread
from .byte_counter import ByteCounter
from .object_database import ObjectDatabase, hash_of, translate

T = TypeVar("T")

# So many objects are looked for by the 256 listings of a remote. Fewer are asked for one by one.
MANY_OBJECTS = 1024


class DvcStore:
    """A remote of any kind that DVC supports. It implements ``RemoteStore``.

    Args:
        remote: the remote.
        budget: the permits that all pushes share.
        connect: connects to the remote.
    """

    backend = "dvc"

    def __init__(
        self,
        remote: RemoteDescription,
        budget: RequestBudget,
        connect: Callable[[RemoteDescription], ObjectDatabase] = ObjectDatabase,
    ) -> None:
        self._remote = remote
        self._budget = budget
        # Each thread holds a permit.
        self._limiter = anyio.CapacityLimiter(budget.max_requests)
        self._connect = connect
        self._opened: ObjectDatabase | None = None

    async def open(self) -> None:
        """Connect. The store is used only after that."""
        self._opened = await self._request(partial(self._connect, self._remote))

    @property
    def _objects(self) -> ObjectDatabase:
        assert self._opened is not None, "not open"
        return self._opened

    async def find(
        self, objects: Sequence[PushObject], verify: Verify | None, _source_of: SourceOf
    ) -> Mapping[str, VerifiedBy | None]:
        """Look for objects, as ``RemoteStore`` says: by listings if there are many."""
        self._objects.forget_listings()
        found: dict[str, VerifiedBy | None] = {}
        jobs = [partial(self._find_one, obj, verify, found) for obj in objects]
        if len(objects) >= MANY_OBJECTS:
            by_prefix: dict[str, list[PushObject]] = {}
            for obj in objects:
                by_prefix.setdefault(obj.md5[:2], []).append(obj)
            jobs = [
                partial(self._find_listed, prefix, some, verify, found)
                for prefix, some in by_prefix.items()
            ]
        await run_together(jobs, self._budget.max_requests)
        return found

    async def send(self, obj: PushObject, source: str, on_bytes: OnBytes) -> Sent:
        """Send an object, as ``RemoteStore`` says.

        Cancellation: waits for the thread, which stops at the next part of the file.
        """
        hashing = ByteCounter()
        check = partial(self._objects.check_source, obj, source, hashing)
        await self._request(check, stop=hashing.stop)
        counter = ByteCounter(on_bytes)
        try:
            put = partial(self._objects.put, obj, source, counter)
            await self._request(put, sent_bytes=obj.size, stop=counter.stop)
            counter.settle(obj.size)
        finally:
            counter.close()
        info = await self._request(partial(self._objects.look_at, obj))
        if info is None:
            raise WrongObjectError("the remote does not have it after it was sent")
        try:
            proof = self._objects.compare(obj, info)
            if proof == "read":
                await self.check_by_reading(obj)
            elif proof is None:
                raise WrongObjectError("the remote has other bytes than those that were sent")
        except WrongObjectError:
            await self._request(partial(self._objects.remove, obj))
            raise
        return Sent(proof)

    async def check_by_reading(self, obj: PushObject) -> None:
        """Read an object back, as ``RemoteStore`` says."""
        counter = ByteCounter()
        md5 = await self._request(partial(self._objects.read, obj, counter), stop=counter.stop)
        if md5 is None:
            raise WrongObjectError("it is not in the remote")
        if md5 != hash_of(obj):
            raise WrongObjectError(f"the bytes in the remote have the hash {md5}")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            with anyio.CancelScope(shield=True):
                await run_in_any_thread(self._opened.close, self._limiter)
            self._opened = None

    async def _find_listed(
        self,
        prefix: str,
        objects: Sequence[PushObject],
        verify: Verify | None,
        found: dict[str, VerifiedBy | None],
    ) -> None:
        """Look for objects whose names begin with ``prefix``, by one listing."""
        listed = await self._request(partial(self._objects.list_prefix, prefix))
        for obj in objects:
            if listed is None:
                await self._find_one(obj, verify, found)
            elif obj.md5 in listed:
                await self._prove(obj, listed[obj.md5], verify, found)

    async def _find_one(
        self, obj: PushObject, verify: Verify | None, found: dict[str, VerifiedBy | None]
    ) -> None:
        info = await self._request(partial(self._objects.look_at, obj))
        if info is not None:
            await self._prove(obj, info, verify, found)

    async def _prove(
        self,
        obj: PushObject,
        info: Mapping[str, Any],
        verify: Verify | None,
        found: dict[str, VerifiedBy | None],
    ) -> None:
        """Put the proof of an object that is there into ``found``."""
        proof = self._objects.compare(obj, info)
        if proof == "read":
            if verify == "read":
                proof = "size"  # it is read back next
            else:
                try:
                    await self.check_by_reading(obj)
                except WrongObjectError:
                    proof = None
        found[obj.md5] = proof

    async def _request(
        self,
        func: Callable[[], T],
        *,
        sent_bytes: int = 0,
        stop: Callable[[], None] | None = None,
    ) -> T:
        """Run a function in a thread, with a permit; call ``stop`` when that is cancelled."""
        async with self._budget.request(sent_bytes):
            outcome: list[T] = []
            error: Exception | None = None
            async with anyio.create_task_group() as task_group:
                if stop is not None:
                    task_group.start_soon(_call_when_cancelled, stop)
                try:
                    outcome.append(await run_in_thread(func, self._limiter))
                except Exception as caught:  # raised below, out of the task group
                    error = caught
                task_group.cancel_scope.cancel()
        if error is not None:
            raise translate(self._remote, error) from error
        return outcome[0]


async def _call_when_cancelled(stop: Callable[[], None]) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        stop()
