"""The resident memory of this process, and its peak from a chosen moment on."""

from __future__ import annotations

from perf.harness.clock import peak_rss_mib


def resident_mib() -> float:
    """Return the memory of the process, and make ``peak_mib`` count from here."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again from here
        return _status_mib("VmRSS")
    except OSError:  # not on Linux: the peak so far, which is a little more
        return peak_rss_mib()


def peak_mib() -> float:
    try:
        # Not getrusage: there a process starts with the peak of the one that started it.
        return _status_mib("VmHWM")
    except OSError:
        return peak_rss_mib()


def _status_mib(name: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
