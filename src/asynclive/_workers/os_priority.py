"""Niceness and time slices of worker processes: the process that they work for runs first.

Batch processes begin with this module, so it imports next to nothing.
"""

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
# Requested scheduler slice (ns). A longer slice makes this process preemptible: a thread with a
# shorter slice, as is the default, that wakes up runs at once instead of at the next tick, which
# is up to 4 ms away at HZ=250. With far longer slices, single waits were longer
# (perf/benches/loop_lag.py).
SLICE_NS = 5_000_000
# The slice of threads that run bulk work. It is longer than SLICE_NS, so that the threads of the
# same process that work on small artifacts preempt them too (perf/benches/large_in_flight.py).
BULK_SLICE_NS = 10_000_000
# The numbers of sched_setattr. Python has no function for it, nor have most C libraries.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, and the two
# limits of utilization. Of a normal thread, runtime is the slice.
_SCHED_ATTR = "IIQiIQQQII"


def lower_priority() -> None:
    """Lower the priority of this process, which must lead a session of its own.

    Linux mostly shares the processors among sessions first, and the niceness of a process counts
    only within its session. So the session (its autogroup) gets a lower priority as well: by
    default it has the same one as that of the parent.
    """
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Raises on other systems than Linux, and where autogroups are off.
    with suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(NICENESS))


class Scheduling:
    """How the threads of a process share processors: here, as the system does it by default."""

    shares_interpreter = True
    """Whether the user's event loop runs in the same process as the worker threads."""

    def run_bulk(self, func: Callable[[], T]) -> T:
        """Run bulk work in the calling thread."""
        return func()


class WorkerScheduling(Scheduling):
    """The scheduling of a worker process: its event loop has no user code to hold up.

    On Linux its threads ask for time slices. Before Linux 6.12 the slices have no effect.
    """

    shares_interpreter = False

    def __init__(self) -> None:
        self._number = _SCHED_SETATTR.get(os.uname().machine) if sys.platform == "linux" else None
        if self._number is not None:
            import ctypes
            import struct

            self._syscall = ctypes.CDLL(None).syscall
            self._attributes = struct.Struct(_SCHED_ATTR)

    def start(self) -> None:
        """Ask for a long slice for the calling thread and for those it starts after this."""
        self._set_slice(SLICE_NS)

    def run_bulk(self, func: Callable[[], T]) -> T:
        """Run bulk work so that the other threads of this process can preempt it."""
        self._set_slice(BULK_SLICE_NS)
        try:
            return func()
        finally:
            self._set_slice(SLICE_NS)

    def _set_slice(self, slice_ns: int) -> None:
        """Ask for a slice for the calling thread, if the system has slices."""
        if self._number is None:
            return
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        size = self._attributes.size
        attributes = self._attributes.pack(size, 0, 0, nice, 0, slice_ns, 0, 0, 0, 0)
        # A sandbox may forbid the call. It then returns an error, and the slice stays as it is.
        self._syscall(self._number, 0, attributes, 0)
