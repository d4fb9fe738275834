"""A clock that touches memory right before it starts, and the peak memory of the process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from types import TracebackType

from perf.harness.units import MIB

# Memory of a virtual machine is slow to touch for the first time. A child touches it, because the
# peak memory of this process is measured too. It does so right before, because freed pages become
# slow again within seconds.
_TOUCH = "import sys; bytearray(b'\\1') * int(sys.argv[1])"


class PrewarmedClock:
    """Measure the ``with`` block, after a child has touched and freed ``prewarm_bytes``."""

    def __init__(self, prewarm_bytes: int) -> None:
        self.prewarm_bytes = prewarm_bytes
        self.seconds = 0.0
        self.user_seconds = self.system_seconds = 0.0
        self.rss_start_mib = 0.0

    def __enter__(self) -> PrewarmedClock:
        # At most the free memory: memory that is in use was touched already.
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        touch_bytes = min(self.prewarm_bytes, free // 10 * 9)
        subprocess.run([sys.executable, "-c", _TOUCH, str(touch_bytes)], check=True)
        self.rss_start_mib = peak_rss_mib()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.user_seconds = usage.ru_utime - self._usage.ru_utime
        self.system_seconds = usage.ru_stime - self._usage.ru_stime


def peak_rss_mib() -> float:
    """Return the peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
