"""A worker process lets the event loop that it works for, and the training beside it, go first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

NICENESS = 10
# So long it would like to run at a time (nanoseconds). Who asks for less, as everybody does by
# default, and wakes up meanwhile, need not wait until a tick ends its turn, which is 4 ms with
# 250 of them a second. With far longer turns single waits were longer (perf/looplag.py).
SLICE_NS = 5_000_000
# The same of its threads that work on what is large: the others in it, which work on what is
# small, need not wait for these either (perf/beside_large.py).
BULK_SLICE_NS = 10_000_000
# The number of sched_setattr, which Python has no function for, nor most C libraries.
_SYSCALLS = {"x86_64": 314, "aarch64": 274}
# size, policy, flags, nice, priority, runtime, deadline, period, two limits of utilization
_ATTRIBUTES = "IIQiIQQQII"


_works_for_another = False


def shares_interpreter() -> bool:
    """Whether the event loop that all this is for runs in this process."""
    return not _works_for_another


def give_precedence() -> None:
    """Lower the priority of this process, which leads a session of its own.

    Linux mostly shares the processors among sessions first: how nice a process is counts only
    within its own, and as a whole that would be as good as the parent's.
    """
    global _works_for_another
    _works_for_another = True
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Not Linux, or without autogroups.
    with suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(NICENESS))


def take_long_turns() -> None:
    """Ask for long turns, for this process and those it starts: they can be interrupted then.

    Before Linux 6.12 it has no effect.
    """
    number = _SYSCALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if number is None:
        return
    import ctypes
    import struct

    size, syscall = struct.calcsize(_ATTRIBUTES), ctypes.CDLL(None).syscall

    def take_turns(slice_ns: int) -> None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        attributes = struct.pack(_ATTRIBUTES, size, 0, 0, nice, 0, slice_ns, 0, 0, 0, 0)
        # A sandbox that forbids it says so by its result: then it goes without.
        syscall(number, 0, attributes, 0)

    global _take_turns
    _take_turns = take_turns
    take_turns(SLICE_NS)


_take_turns: Callable[[int], None] | None = None
"""Of the thread that calls it; None where none of this is wanted, or possible."""


def in_bulk(func: Callable[[], T]) -> T:
    """Run ``func``, interrupted by the other threads of a process that takes long turns."""
    if _take_turns is None:
        return func()
    _take_turns(BULK_SLICE_NS)
    try:
        return func()
    finally:
        _take_turns(SLICE_NS)
