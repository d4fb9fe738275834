"""Pusher: pushes to the remotes of a session. ``one_push`` has the way of a push to one remote."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio

from .._artifact.push_policy import Verify
from .._artifact.push_records import PushResult, PushUnit, RemoteDescription
from .._errors import FailedObject, PushError, RemoteVerifyError
from .._instrumentation.push_progress import PushCounts
from .._workers.bounded_gather import run_together
from .one_push.objects_in_flight import ObjectsInFlight
from .one_push.push_tally import PushTally
from .one_push.remote_push import RemotePush, reason_of
from .one_push.versioned_push import VersionedPush
from .request_budget import RequestBudget
from .store import RemoteStore, UnreadableObjectError, WrongObjectError

OpenStore = Callable[[RemoteDescription], Awaitable[RemoteStore]]


@dataclass(frozen=True, slots=True)
class _OpenRemote:
    """A remote of which the store is open."""

    description: RemoteDescription
    store: RemoteStore
    in_flight: ObjectsInFlight = field(default_factory=ObjectsInFlight)


class Pusher:
    """Pushes to the remotes of a session, any number of pushes at a time. Used on the push loop.

    Args:
        open_store: opens the store of a remote. It is called once for each remote.
        budget: the permits that all pushes share.
    """

    def __init__(self, open_store: OpenStore, budget: RequestBudget) -> None:
        self._open_store = open_store
        self._budget = budget
        self._opened: list[_OpenRemote] = []
        self._opens = anyio.Lock()  # protects the list, while a store is opened

    async def push(
        self, units: Sequence[PushUnit], verify: Verify | None, counts: PushCounts
    ) -> PushResult:
        """Send what the remotes lack of ``units``, and prove every object.

        Args:
            units: the outputs. They may name different remotes.
            verify: the proof, as in ``PushPolicy``.
            counts: gets the progress.

        Raises:
            RemoteAccessError: a remote cannot be used. No other request was begun.
            RemoteVerifyError: objects failed, and each has other bytes than its name promises.
            PushError: objects failed. The others were sent, and the listings of the directories
                that have no failed file.

        Cancellation: no other request begins, and no listing follows. The requests in flight end
            first.
        """
        started = time.monotonic()
        tally = PushTally(counts)
        pushes = [
            (VersionedPush if remote.is_cloud_versioned else RemotePush)(
                remote, some, verify, tally
            )
            for remote, some in _by_remote(units)
        ]
        counts.set_totals(
            ", ".join(push.remote.name for push in pushes),
            sum(len(push.objects) for push in pushes),
            sum(obj.known_size for push in pushes for obj in push.objects.values()),
        )
        with self._budget.share():
            # Each in a task of its own: a native cancellation of this one would abandon threads.
            await run_together([partial(self._run, push) for push in pushes], len(pushes))
        failures = [push for push in pushes if push.failed]
        if failures:
            raise _failure(failures) from next(iter(failures[0].failed.values()))
        return PushResult(
            remote=counts.remote,
            objects=tally.sent,
            bytes=tally.sent_bytes,
            skipped=tally.skipped,
            resumed_bytes=tally.resumed_bytes,
            verified_by=tally.weakest_proof,
            backend=", ".join(dict.fromkeys(push.backend for push in pushes)),
            seconds=time.monotonic() - started,
        )

    async def aclose(self) -> None:
        """Close the stores. No push is running."""
        while self._opened:
            await self._opened.pop().store.aclose()

    async def _run(self, push: RemotePush) -> None:
        remote = await self._open(push.remote)
        await push.run(remote.store, remote.in_flight, self._budget.max_requests)

    async def _open(self, description: RemoteDescription) -> _OpenRemote:
        async with self._opens:
            for remote in self._opened:
                if remote.description == description:
                    return remote
            remote = _OpenRemote(description, await self._open_store(description))
            self._opened.append(remote)
            return remote


def _by_remote(
    units: Sequence[PushUnit],
) -> list[tuple[RemoteDescription, list[PushUnit]]]:
    """Return the units of each remote. A description holds options, so it has no hash."""
    groups: list[tuple[RemoteDescription, list[PushUnit]]] = []
    for unit in units:
        for remote, some in groups:
            if remote is unit.remote or remote == unit.remote:
                some.append(unit)
                break
        else:
            groups.append((unit.remote, [unit]))
    return groups


def _failure(pushes: Sequence[RemotePush]) -> PushError:
    """Return the error of a push of which objects failed. It names all paths of each object."""
    failed = [
        FailedObject(obj.md5, obj.path, reason_of(push.failed[obj.md5]))
        for push in pushes
        for unit in push.units
        for obj in (*unit.objects, *filter(None, [unit.listing]))
        if obj.md5 in push.failed
    ]
    errors = [error for push in pushes for error in push.failed.values()]
    total = sum(len(push.objects) for push in pushes)
    is_wrong = all(isinstance(one, WrongObjectError | UnreadableObjectError) for one in errors)
    return (RemoteVerifyError if is_wrong else PushError)(
        ", ".join(push.remote.name for push in pushes),
        f"{len(errors):,} of {total:,} objects failed.",
        failed=failed,
    )
