"""VersionedDvcStore: a cloud-versioned remote, by DVC's own classes.

Files lie under their paths, and the ``.dvc`` files name the version of each. ``dvc push`` holds
DVC's lock while it sends them; here the lock is held to write the versions alone.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from ...._artifact.push_records import PushObject, PushUnit, RemoteDescription, VerifiedBy
from ...._remote.request_budget import RequestBudget
from ...._workers.thread_start import run_in_thread
from ..remote_description import remote_path
from .byte_counter import ByteCounter
from .dvc_store import DvcStore
from .object_database import ObjectDatabase
from .record_versions import RecordedOutput

Record = Callable[[str, Sequence[RecordedOutput]], None]
"""Writes versions of the remote of this name into ``.dvc`` files, under DVC's lock. Blocks."""


class VersionedObjects(ObjectDatabase):
    """The files of a cloud-versioned remote.

    Args:
        remote: the remote.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        super().__init__(remote)
        self._base = remote_path(remote)
        # By path: the version that the .dvc file names.
        self.versions: dict[str, str] = {}
        # By path: the report of the remote about the version that a push found, or sent.
        self.found: dict[str, Mapping[str, Any]] = {}
        self._sent: set[str] = set()

    def path_of(self, obj: PushObject) -> str:
        path: str = self._odb.fs.join(self._base, *obj.path.split(os.sep))
        return path

    def look_at(self, obj: PushObject) -> Mapping[str, Any] | None:
        version = self.versions.get(obj.path)
        info = None if version is None else self._look_at_version(obj, version)
        if info is None:
            self.versions.pop(obj.path, None)
            info = super().look_at(obj)
        if info is not None:
            self.found[obj.path] = info
        return info

    def _look_at_version(self, obj: PushObject, version: str) -> Mapping[str, Any] | None:
        fs = self._odb.fs
        try:
            info: Mapping[str, Any] = fs.info(fs.version_path(self.path_of(obj), version))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:  # the remote has never had such a version
                raise
            return None
        return info

    def compare(self, obj: PushObject, info: Mapping[str, Any]) -> VerifiedBy | None:
        proof = super().compare(obj, info)
        if proof in ("size", "read") and not (obj.path in self._sent or obj.path in self.versions):
            return None  # an older version may have the same size
        return proof

    def put(self, obj: PushObject, source: str, counter: ByteCounter) -> None:
        self.versions.pop(obj.path, None)
        super().put(obj, source, counter)
        self._sent.add(obj.path)

    def read_path_of(self, obj: PushObject) -> str:
        path: str = self._odb.fs.version_path(
            self.path_of(obj), self.version_of(self.found[obj.path])
        )
        return path

    def remove(self, obj: PushObject) -> None:
        """Leave the version: no ``.dvc`` file will name it."""

    def version_of(self, info: Mapping[str, Any]) -> str | None:
        """Return the version in a report of the remote."""
        from dvc_data.hashfile.meta import Meta

        version: str | None = Meta.from_info(info, self._odb.fs.protocol).version_id
        return version

    def forget(self, path: str) -> None:
        """Forget an earlier push of a file."""
        self.found.pop(path, None)
        self._sent.discard(path)


class VersionedDvcStore(DvcStore):
    """A cloud-versioned remote. It implements ``VersionedStore``.

    Args:
        remote: the remote.
        budget: the permits that all pushes share.
        record: writes the versions.
    """

    def __init__(self, remote: RemoteDescription, budget: RequestBudget, record: Record) -> None:
        super().__init__(remote, budget, VersionedObjects)
        # By the path of an output, as long as a push holds it or waits for it.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._record = record

    @property
    def _files(self) -> VersionedObjects:
        assert isinstance(self._objects, VersionedObjects)
        return self._objects

    def turn(self, path: str) -> asyncio.Lock:
        """Return the lock that a push of the output at ``path`` holds."""
        return self._turns.setdefault(path, asyncio.Lock())

    def note_version(self, path: str, version: str | None) -> None:
        """Take note of the version of a file that its ``.dvc`` file names."""
        self._files.forget(path)
        if version is None:
            self._files.versions.pop(path, None)
        else:
            self._files.versions[path] = version

    async def record(self, units: Sequence[PushUnit]) -> None:
        """Write the versions of all files into the ``.dvc`` files of outputs, under DVC's lock."""
        changed = [
            RecordedOutput.of(unit, self._files.found) for unit in units if self._has_new(unit)
        ]
        if changed:
            record = partial(self._record, self._remote.name, changed)
            await run_in_thread(record, self._limiter)

    def _has_new(self, unit: PushUnit) -> bool:
        """Return whether the ``.dvc`` file lacks the version of a file."""
        return any(
            self._files.version_of(self._files.found[obj.path]) != unit.versions.get(obj.path)
            for obj in unit.objects
        )
