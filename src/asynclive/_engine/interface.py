"""What a session asks of an engine, and what an engine tells its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._calls.call import Call


class Listener(NamedTuple):
    """Whom an engine tells of its calls. The changes of their stages are told by the calls."""

    committed: Callable[[Call, str | None], None]
    """The artifact is tracked, under this MD5, and recorded."""
    ended: Callable[[Call], None]
    """It has ended; who waits for it is told after this."""
