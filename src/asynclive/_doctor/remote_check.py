"""Looks into a remote: whether it can be reached, and which tracked objects it lacks.

Nothing is sent, and nothing in the remote is changed, except that open uploads are aborted on
request.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from .._artifact.push_policy import PushPolicy
from .._artifact.push_records import PushObject, PushUnit, RemoteDescription
from .._dvc.remote.by_dvc.open_dvc_store import open_dvc_store
from .._dvc.repository.inspect_repository import read_push_units
from .._errors import AsyncLiveError, FailedObject
from .._remote.open_store import open_store
from .._remote.push_loop import PushLoop
from .._remote.request_budget import DEFAULT_REQUESTS, RequestBudget
from .._remote.s3.upload_journal import OpenUpload, UploadJournal

# Objects that no remote has. They are too many to be asked for one by one, and the answer to a
# listing tells a missing bucket from a missing object.
_PROBES = tuple(PushObject(f"{number:032x}", 0, "") for number in range(256))
_BUCKETS = ("s3", "gs", "azure")


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """An upload in parts that a push of this repository has begun and not ended."""

    key: str
    size: int
    begun: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class RemoteCheck:
    """The state of a remote."""

    name: str
    url: str = ""
    sent_by: str = ""
    """``"asynclive"``; or DVC's own classes, and the reason."""
    objects: int = 0
    """The number of objects that DVC tracks in the workspace and that belong into this remote."""
    missing: list[FailedObject] = field(default_factory=list)
    wrong: list[FailedObject] = field(default_factory=list)
    """Objects that are there with another size or checksum."""
    open_uploads: list[FoundUpload] = field(default_factory=list)
    aborted_uploads: int = 0
    problem: str | None = None
    """Why the remote cannot be used; None: it can."""


def check_remote(root: str, tmp_dir: str, name: str, *, abort_uploads: bool) -> RemoteCheck:
    """Look into the remote ``name`` of the repository at ``root``. Blocks; errors become problems.

    Args:
        root: the root of the DVC repository.
        tmp_dir: its directory for temp files.
        name: the name of the remote.
        abort_uploads: whether to abort the open uploads of this repository to it.
    """
    check = RemoteCheck(name)
    try:
        remote, units = read_push_units(root, name)
        check.name, check.url, check.sent_by = remote.name, remote.url, "asynclive"
        if remote.only_dvc is not None:
            check.sent_by = f"DVC's own classes, because of '{remote.only_dvc}'"
        # Outputs of DVC 2 have another place in the same remote.
        places = {unit.remote.key: unit.remote for unit in units if unit.remote.name == check.name}
        for place in {remote.key: remote, **places}.values():
            objects = _objects_of(units, place)
            anyio.run(_look, check, place, objects, backend_options={"loop_factory": PushLoop})
        if remote.scheme == "s3" and remote.only_dvc is None:
            _find_uploads(check, remote, os.path.join(tmp_dir, "asynclive"), abort_uploads)
    except AsyncLiveError as error:
        check.problem = str(error)
    return check


def _objects_of(units: Sequence[PushUnit], remote: RemoteDescription) -> dict[PushObject, str]:
    """Return the objects that belong into a remote, with their paths in the cache."""
    objects = {}
    for unit in units:
        if unit.remote.key != remote.key:
            continue
        objects.update({obj: unit.object_path(obj) for obj in unit.objects})
        # A cloud-versioned remote has no listings.
        if unit.listing is not None and not remote.is_cloud_versioned:
            objects[unit.listing] = unit.object_path(unit.listing)
    return objects


async def _look(
    check: RemoteCheck, remote: RemoteDescription, objects: dict[PushObject, str]
) -> None:
    budget = RequestBudget(remote.options.get("jobs") or DEFAULT_REQUESTS)
    # The proofs that are found are not kept: this command changes nothing in the repository.
    with tempfile.TemporaryDirectory() as state_dir:
        if remote.only_dvc is None:
            store = await open_store(remote, budget, PushPolicy(), state_dir)
        else:
            store = await open_dvc_store(remote, budget, _record_nothing)
        try:
            if remote.scheme in _BUCKETS and remote.only_dvc is None:
                await store.find(_PROBES, None, objects.__getitem__)
            distinct = {obj.md5: obj for obj in objects}.values()
            found = await store.find([*distinct], "store", objects.__getitem__)
        finally:
            await store.aclose()
    check.objects += len(distinct)
    for obj in distinct:
        if obj.md5 not in found:
            check.missing.append(FailedObject(obj.md5, obj.path, "it is not in the remote"))
        elif found[obj.md5] is None and obj.known_size == obj.size:  # else it is not in the cache
            reason = "it has another size or checksum"
            check.wrong.append(FailedObject(obj.md5, obj.path, reason))


def _record_nothing(remote: str, outputs: Sequence[object]) -> None:
    """Do nothing: versions are written after something is sent."""


def _find_uploads(
    check: RemoteCheck, remote: RemoteDescription, state_dir: str, abort: bool
) -> None:
    if abort and _uploads_to(remote, state_dir):
        from .._remote.s3.open_uploads import abort_all

        check.aborted_uploads = len(abort_all(remote, state_dir))
    check.open_uploads = [
        FoundUpload(upload.key, upload.size, upload.begun)
        for upload in _uploads_to(remote, state_dir)
    ]


def _uploads_to(remote: RemoteDescription, state_dir: str) -> list[OpenUpload]:
    entries = UploadJournal(state_dir).entries().values()
    return [upload for upload in entries if upload.remote == remote.name]
