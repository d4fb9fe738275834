"""make_pusher: the pusher of a session, with a store for each kind of remote."""

from __future__ import annotations

from ..._artifact.push_policy import PushPolicy
from .push_service import UnitPusher


async def make_pusher(policy: PushPolicy | None) -> UnitPusher:
    """Return the pusher of a session. Runs in the push thread."""
    raise NotImplementedError
