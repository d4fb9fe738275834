"""A worker process lets the event loop that it works for, and the training beside it, go first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

NICENESS = 10
# So long it would like to run at a time (nanoseconds). Who asks for less, as everybody does by
# default, and wakes up meanwhile, need not wait until a tick ends its turn, which is 4 ms with
# 250 of them a second. With far longer turns single waits were longer (perf/looplag.py).
SLICE_NS = 10_000_000
# The number of sched_setattr, which Python has no function for, nor most C libraries.
_SYSCALLS = {"x86_64": 314, "aarch64": 274}
# size, policy, flags, nice, priority, runtime, deadline, period, two limits of utilization
_ATTRIBUTES = "IIQiIQQQII"


def give_precedence() -> None:
    """Lower the priority of this process, which leads a session of its own.

    Linux mostly shares the processors among sessions first: how nice a process is counts only
    within its own, and as a whole that would be as good as the parent's.
    """
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

    nice = os.getpriority(os.PRIO_PROCESS, 0)
    size = struct.calcsize(_ATTRIBUTES)
    attributes = struct.pack(_ATTRIBUTES, size, 0, 0, nice, 0, SLICE_NS, 0, 0, 0, 0)
    # A sandbox that forbids it says so by its result: then it goes without.
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)
