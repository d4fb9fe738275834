"""A worker process lets the event loop that it works for, and the training beside it, go first."""

from __future__ import annotations

import os
from contextlib import suppress

NICENESS = 10


def give_precedence() -> None:
    """Lower the priority of this process, which leads a session of its own.

    Linux mostly shares the processors among sessions first: how nice a process is counts only
    within its own, and as a whole that would be as good as the parent's.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # Not Linux, or without autogroups.
    with suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(NICENESS))
