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
    from ..._remote.request_budget import RequestBudget
    from ..._remote.store import RemoteStore


def make_pusher(policy: PushPolicy | None, state_dir: str, remote: RemoteDescription) -> UnitPusher:
    """Return the pusher of a session.

    Args:
        policy: the policy of the session; None: the default one.
        state_dir: the directory for journals and cached proofs.
        remote: the first remote: its option ``jobs`` bounds the requests if the policy does not.
    """
    from ..._remote.pusher import Pusher
    from ..._remote.request_budget import DEFAULT_REQUESTS, RequestBudget

    policy = policy or PushPolicy()
    most = policy.max_requests or remote.options.get("jobs") or DEFAULT_REQUESTS
    budget = RequestBudget(most, policy.max_bandwidth)
    return Pusher(partial(_open, budget, policy, state_dir), budget)


async def _open(
    budget: RequestBudget, policy: PushPolicy, state_dir: str, remote: RemoteDescription
) -> RemoteStore:
    """Open the store of a remote."""
    from ..._remote.open_store import open_store

    return await open_store(remote, budget, policy, state_dir)
