"""RemotePush: one push to one remote.

The order:

1. Look for all objects. Those that are proven are done.
2. Send the objects that are missing or wrong, and prove each.
3. Once all files of a directory are proven, do the same for its listing. A listing that is in the
   remote already proves nothing about the files.

An object that fails stops neither the others nor the listings of other directories, so the next
push has less to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from logging import getLogger

import anyio.lowlevel

from ..._artifact.push_policy import Verify
from ..._artifact.push_records import (
    PushObject,
    PushUnit,
    RemoteDescription,
    VerifiedBy,
)
from ..._errors import PushError, RemoteAccessError
from ..._workers.bounded_gather import run_together
from ..store import RemoteStore, WrongObjectError
from .objects_in_flight import ObjectsInFlight
from .push_tally import PushTally

logger = getLogger(__name__)

Found = Mapping[str, VerifiedBy | None]

# A warning names so many objects: enough to tell which artifacts are concerned.
_NAMED_OBJECTS = 10


@dataclass(eq=False, slots=True)
class _Directory:
    """A directory whose listing waits for its files."""

    unit: PushUnit
    listing: PushObject
    unproven: int
    """The number of its files that are not proven yet."""
    has_failed: bool = False


class RemotePush:
    """One push to one remote. ``run`` is called once.

    Args:
        remote: the remote.
        units: the outputs.
        verify: the proof, as in ``PushPolicy``.
        tally: gets the counts.
    """

    def __init__(
        self,
        remote: RemoteDescription,
        units: Sequence[PushUnit],
        verify: Verify | None,
        tally: PushTally,
    ) -> None:
        self.remote = remote
        self.units = units
        self.backend = ""
        self.objects: dict[str, PushObject] = {
            obj.md5: obj for unit in units for obj in _objects_of(unit)
        }
        self.failed: dict[str, Exception] = {}
        """The objects that are not proven, by MD5."""
        # One output of each directory of objects.
        self._caches = {unit.cache_dir: unit for unit in units}
        self._verify = verify
        self._tally = tally
        # By MD5: the directories that wait for an object. Bounded by the files of the push.
        self._waiting: dict[str, list[_Directory]] = {}

    async def run(self, store: RemoteStore, in_flight: ObjectsInFlight, at_once: int) -> None:
        """Push, and put the objects that fail into ``failed``.

        Args:
            store: the remote.
            in_flight: the objects that other pushes to it are sending.
            at_once: maximum number of objects at a time.

        Raises:
            RemoteAccessError: no other object will succeed.
            PushError: the objects cannot be looked for.
        """
        self.backend = store.backend
        with in_flight.push() as number:
            found = await self._find(store)
            self._warn_of_wrong(found)
            sending = Sending(store, in_flight, number, found)
            jobs = (partial(self._push, sending, *work) for work in self._plan(found))
            await run_together(jobs, at_once)

    async def _find(self, store: RemoteStore) -> Found:
        try:
            return await store.find([*self.objects.values()], self._verify, self._source_of)
        except PushError:
            raise
        except Exception as error:
            raise PushError(self.remote.name, f"{reason_of(error)}.") from error

    def _source_of(self, obj: PushObject) -> str:
        """Return the path of an object in the cache. All outputs have one or two caches."""
        paths = [unit.object_path(obj) for unit in self._caches.values()]
        return next(filter(os.path.exists, paths), paths[0])

    def _is_done(self, obj: PushObject, found: Found) -> bool:
        """Return whether it is enough that the object was found."""
        return self._verify != "read" and found.get(obj.md5) is not None

    def _plan(self, found: Found) -> list[tuple[PushObject, PushUnit]]:
        """Return the objects to send or to read back, and the listings that wait for none of them.

        The large files of each output come first: a small one at the end is done at once, and a
        large one would keep all others waiting.
        """
        work: dict[str, tuple[PushObject, PushUnit]] = {}
        skipped: set[str] = set()
        listings: set[str] = set()
        for unit in self.units:
            unproven: dict[str, PushObject] = {}
            for obj in unit.objects:
                if not self._is_done(obj, found):
                    unproven[obj.md5] = obj
                elif obj.md5 not in skipped:
                    skipped.add(obj.md5)
                    self._skip(obj, found)
            for obj in sorted(unproven.values(), key=_size, reverse=True):
                work.setdefault(obj.md5, (obj, unit))
            if unit.listing is None or unit.listing.md5 in listings:
                continue
            listings.add(unit.listing.md5)
            if not unproven:
                work[unit.listing.md5] = unit.listing, unit
            directory = _Directory(unit, unit.listing, len(unproven))
            for md5 in unproven:
                self._waiting.setdefault(md5, []).append(directory)
        return list(work.values())

    def _skip(self, obj: PushObject, found: Found) -> None:
        proof = found[obj.md5]
        assert proof is not None
        self._tally.add_skipped(obj, proof)

    async def _push(self, sending: Sending, obj: PushObject, unit: PushUnit) -> None:
        """Prove one object; then the listings of the directories that waited for it last."""
        is_proven = await self._prove(sending, obj, unit)
        for directory in self._waiting.pop(obj.md5, ()):
            directory.unproven -= 1
            directory.has_failed |= not is_proven
            if not directory.unproven and not directory.has_failed:
                await anyio.lowlevel.checkpoint()  # the push may have just been cancelled
                await self._prove(sending, directory.listing, directory.unit)

    async def _prove(self, sending: Sending, obj: PushObject, unit: PushUnit) -> bool:
        """Send an object if that is needed, and prove it; return whether it is proven."""
        try:
            if self._is_done(obj, sending.found):  # a listing
                self._skip(obj, sending.found)
            elif not await self._is_read_back(sending, obj):
                await self._send(sending, obj, unit)
        except RemoteAccessError:
            raise
        except Exception as error:
            self.failed[obj.md5] = error
            return False
        return True

    async def _is_read_back(self, sending: Sending, obj: PushObject) -> bool:
        """Return whether the object is in the remote, and its bytes were read and are right."""
        if sending.found.get(obj.md5) is None:
            return False
        try:
            await sending.store.check_by_reading(obj)
        except WrongObjectError:
            self._warn([obj])
            return False
        self._tally.add_skipped(obj, "read")
        return True

    async def _send(self, sending: Sending, obj: PushObject, unit: PushUnit) -> None:
        progress = 0

        def on_bytes(count: int) -> None:
            nonlocal progress
            progress += count
            self._tally.add_progress(count)

        try:
            sent, is_own = await sending.in_flight.send_once(
                obj.md5,
                sending.number,
                partial(sending.store.send, obj, unit.object_path(obj), on_bytes),
            )
            proof = sent.verified_by
            if self._verify == "read":
                await sending.store.check_by_reading(obj)
                proof = "read"
        finally:
            self._tally.add_progress(-progress)
        if is_own:
            self._tally.add_sent(obj, proof, sent.resumed_bytes)
        else:
            self._tally.add_skipped(obj, proof)

    def _warn_of_wrong(self, found: Found) -> None:
        """Log the objects that are wrong, or are missing below a listing that is there."""
        wrong = {md5: self.objects[md5] for md5, proof in found.items() if proof is None}
        for unit in self.units:
            if unit.listing is not None and unit.listing.md5 in found:
                wrong.update((obj.md5, obj) for obj in unit.objects if obj.md5 not in found)
        if wrong:
            self._warn([*wrong.values()])

    def _warn(self, wrong: Sequence[PushObject]) -> None:
        more = len(wrong) - _NAMED_OBJECTS
        logger.warning(
            "The remote '%s' lost objects, or has wrong ones. They are sent again (%d): %s%s",
            self.remote.name,
            len(wrong),
            ", ".join(f"'{obj.path}' ({obj.md5})" for obj in wrong[:_NAMED_OBJECTS]),
            f", and {more} more" if more > 0 else "",
        )


@dataclass(frozen=True, slots=True)
class Sending:
    """The objects that are in the remote, and the means to send the others."""

    store: RemoteStore
    in_flight: ObjectsInFlight
    number: int
    """The number of this push among ``in_flight``."""
    found: Found


def reason_of(error: Exception) -> str:
    """Return the reason of a failure as a clause for a message."""
    if isinstance(error, OSError) and error.strerror:
        where = f": '{error.filename}'" if isinstance(error.filename, str) else ""
        return f"{error.strerror}{where}"
    return str(error).rstrip(".") or type(error).__name__


def _objects_of(unit: PushUnit) -> Iterator[PushObject]:
    yield from unit.objects
    if unit.listing is not None:
        yield unit.listing


def _size(obj: PushObject) -> int:
    return obj.size
