"""Opens the store of a remote that only DVC's own classes can use."""

from __future__ import annotations

from ...._artifact.push_records import RemoteDescription
from ...._remote.request_budget import RequestBudget
from .dvc_store import DvcStore
from .versioned_store import Record, VersionedDvcStore


async def open_dvc_store(
    remote: RemoteDescription, budget: RequestBudget, record: Record
) -> DvcStore:
    """Return the store of a remote whose ``only_dvc`` is not None. Close it with ``aclose``.

    Args:
        remote: the remote.
        budget: the permits and the bandwidth that all pushes share.
        record: writes the versions of a cloud-versioned remote: ``DvcRepository.record_versions``.

    Raises:
        RemoteAccessError: DVC cannot use the remote: packages, options or credentials are missing.
    """
    if remote.is_cloud_versioned:
        store: DvcStore = VersionedDvcStore(remote, budget, record)
    else:
        store = DvcStore(remote, budget)
    await store.open()
    return store
