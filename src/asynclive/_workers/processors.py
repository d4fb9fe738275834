"""The number of processors that this process may use: affinity, and the quotas of its container."""

from __future__ import annotations

import math
import os
from contextlib import suppress

_CGROUPS = "/sys/fs/cgroup"
_OWN_CGROUPS = "/proc/self/cgroup"
# Controllers of the first version have directories of their own, mostly with one of these names.
_CPU_MOUNTS = ("cpu,cpuacct", "cpu", "cpuacct,cpu")


def usable_processors() -> int:
    """Return the number of processors for threads and processes, at least 1.

    A container with a quota sees all processors of its machine. More threads than the quota lets
    run at once use it up early, and then all of them stand still until the next period.
    """
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        processors = os.cpu_count() or 1
    if hasattr(os, "process_cpu_count"):  # Python 3.13: PYTHON_CPU_COUNT may name a number
        processors = min(processors, os.process_cpu_count() or processors)
    # A part of a processor runs a thread too.
    quota = _quota.processors
    return processors if quota >= processors else max(1, math.ceil(quota))


class _Quota:
    """The smallest quota of the control groups of this process, once it is known."""

    processors = math.inf


_quota = _Quota()


def read_quota() -> None:
    """Take note of the quota of the container, for ``usable_processors``. Blocks for a moment."""
    quotas = [math.inf]
    with suppress(OSError):  # there are no control groups
        for line in _read(_OWN_CGROUPS).splitlines():
            number, controllers, path = (line + "::").split(":")[:3]
            if number == "0":
                quotas += map(_quota_v2, _upwards(_CGROUPS, path, "cpu.max"))
            elif "cpu" in controllers.split(","):
                for name in _CPU_MOUNTS:
                    mount = os.path.join(_CGROUPS, name)
                    quotas += map(_quota_v1, _upwards(mount, path, "cpu.cfs_quota_us"))
    _quota.processors = min(quotas)


def _upwards(mount: str, path: str, name: str) -> list[str]:
    """Return the paths of the file in the directory of a group and in those of its ancestors.

    In a container, the path may be that of the machine. Then only the mount itself is there.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [os.path.join(mount, *parts[:count], name) for count in range(len(parts) + 1)]


def _quota_v2(path: str) -> float:
    with suppress(OSError, ValueError):
        quota, period = _read(path).split()
        return float(quota) / float(period)  # "max" is no number
    return math.inf


def _quota_v1(path: str) -> float:
    with suppress(OSError, ValueError):
        quota = int(_read(path))
        if quota > 0:  # -1: none
            return quota / int(_read(os.path.join(os.path.dirname(path), "cpu.cfs_period_us")))
    return math.inf


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)
