"""make_pusher: the pusher of a session, with a store for each kind of remote.

It runs in the push thread. Its imports are late: a session that pushes nothing needs none of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..._artifact.push_policy import PushPolicy
from ..._artifact.push_records import RemoteDescription
from .push_service import UnitPusher

if TYPE_CHECKING:
    from ..._dvc.remote.by_dvc.versioned_store import Record
    from ..._remote.request_budget import RequestBudget
    from ..._remote.store import RemoteStore


def make_pusher(
    policy: PushPolicy | None, state_dir: str, record: Record, remote: RemoteDescription
) -> UnitPusher:
    """Return the pusher of a session.

    Args:
        policy: the policy of the session; None: the default one.
        state_dir: the directory for journals and cached proofs.
        record: writes the versions of a cloud-versioned remote into ``.dvc`` files.
        remote: the first remote: its option ``jobs`` bounds the requests if the policy does not.
    """
    from ..._remote.pusher import Pusher
    from ..._remote.request_budget import DEFAULT_REQUESTS, RequestBudget

    policy = policy or PushPolicy()
    most = policy.max_requests or remote.options.get("jobs") or DEFAULT_REQUESTS
    budget = RequestBudget(most, policy.max_bandwidth)
    return Pusher(partial(_open, budget, policy, state_dir, record), budget)


async def _open(
    budget: RequestBudget,
    policy: PushPolicy,
    state_dir: str,
    record: Record,
    remote: RemoteDescription,
) -> RemoteStore:
    """Open the store of a remote."""
    if remote.only_dvc is not None:
        from ..._dvc.remote.by_dvc.open_dvc_store import open_dvc_store

        return await open_dvc_store(remote, budget, record)
    from ..._remote.open_store import open_store

    return await open_store(remote, budget, policy, state_dir)
