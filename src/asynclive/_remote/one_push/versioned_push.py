"""VersionedPush: one push to a cloud-versioned remote, in which files lie under their paths.

There are no listings: the ``.dvc`` files name the version of each file. They get the versions once
all files of their output are proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

from ..._artifact.push_policy import Verify
from ..._artifact.push_records import PushObject, PushUnit, RemoteDescription
from ..._errors import RemoteAccessError
from ..._workers.bounded_gather import run_together
from ..store import MissingObjectError, RemoteStore, VersionedStore
from .objects_in_flight import ObjectsInFlight
from .push_tally import PushTally
from .remote_push import RemotePush, Sending


class VersionedPush(RemotePush):
    """One push to one cloud-versioned remote. ``run`` is called once.

    The arguments are those of ``RemotePush``.
    """

    def __init__(
        self,
        remote: RemoteDescription,
        units: Sequence[PushUnit],
        verify: Verify | None,
        tally: PushTally,
    ) -> None:
        super().__init__(remote, units, verify, tally)
        # By path: the same bytes may lie under several.
        self.objects = {obj.path: obj for unit in units for obj in unit.objects}

    async def run(self, store: RemoteStore, _in_flight: ObjectsInFlight, at_once: int) -> None:
        """Push, put the files that fail into ``failed``, and record the versions of the others.

        Raises:
            RemoteAccessError: no other file will succeed.
            LockTimeoutError: DVC's lock was held, so no version is recorded.
        """
        versioned = cast("VersionedStore", store)
        self.backend = store.backend
        async with AsyncExitStack() as turns:
            # One push of an output at a time: a version is that of the path, whichever push has
            # sent it. In order, so that two pushes never wait for each other.
            for path in sorted({unit.path for unit in self.units}):
                await turns.enter_async_context(versioned.turn(path))
            jobs = (
                partial(self._push_file, versioned, obj, unit)
                for unit in self.units
                for obj in unit.objects
            )
            await run_together(jobs, at_once)
            await versioned.record([unit for unit in self.units if not self._has_failed(unit)])

    def _has_failed(self, unit: PushUnit) -> bool:
        listing = unit.listing
        if listing is not None and listing.size < 0 and not unit.objects:
            self.failed[listing.md5] = MissingObjectError(
                "its listing is not in the cache. Run 'dvc fetch', or log it again"
            )
            return True
        return any(obj.md5 in self.failed for obj in unit.objects)

    async def _push_file(self, store: VersionedStore, obj: PushObject, unit: PushUnit) -> None:
        in_flight = ObjectsInFlight()
        with in_flight.push() as number:
            try:
                store.note_version(obj.path, unit.versions.get(obj.path))
                found = await store.find([obj], self._verify, unit.object_path)
            except RemoteAccessError:
                raise
            except Exception as error:
                self.failed[obj.md5] = error
            else:
                await self._prove(Sending(store, in_flight, number, found), obj, unit)
