"""One run of one side, in a process of its own, in a repository made for it."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from perf.harness.sources import MIB
from perf.harness.standard_workloads import BY_NAME, Changed, Workload
from perf.sides.asynclive import named

# Memory of a virtual machine is slow to touch for the first time. In a child, because the
# peak memory of this process is measured too; right before, because it goes cold again.
_TOUCH = "import sys; bytearray(b'\\1') * int(sys.argv[1])"


class PrewarmedClock:
    """Measures its ``with`` block; touches and frees memory right before."""

    def __init__(self, prewarm_bytes: int) -> None:
        self.prewarm_bytes = prewarm_bytes
        self.seconds = 0.0
        self.user_seconds = self.system_seconds = 0.0
        self.rss_start_mib = 0.0

    def __enter__(self) -> PrewarmedClock:
        # No more than is free: the rest is in use, so it was touched already.
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


def run(side: str, workload: Workload, where: Path, scale: float) -> dict[str, Any]:
    """Log ``workload`` from ``where`` in the working directory; return what it took."""
    log = named(side)
    calls = workload.calls(where, scale)
    changed = Changed()
    if workload.logged_before:
        log(calls, nullcontext())
        if workload.change is not None:
            changed = workload.change(calls)
    clock = PrewarmedClock(int(workload.prewarm_bytes * min(1.0, scale)))
    said = log(calls, clock)
    _verify(side, workload, scale, changed)
    return {
        "seconds": clock.seconds,
        # Far more system time in some runs: the memory, or the disk, was the slow part.
        "user_seconds": clock.user_seconds,
        "system_seconds": clock.system_seconds,
        "rss_start_mib": clock.rss_start_mib,
        "rss_peak_mib": peak_rss_mib(),
        **({"statistics": said} if said else {}),
    }


def peak_rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def _verify(side: str, workload: Workload, scale: float, changed: Changed) -> None:
    """A fast run that did not do the work is not a result."""
    sources = workload.sources(scale)
    listed = side not in ("floor", "xvc")  # a directory's listing is an object of DVC's
    expected = sum(each.objects if listed else each.nfiles for each in sources)
    expected += changed.objects if listed else changed.files
    cache = Path(".xvc/b3" if side == "xvc" else ".dvc/cache/files/md5")
    objects = sum(1 for path in cache.rglob("*") if path.is_file())
    if objects != expected:
        raise SystemExit(f"{side}: {objects} cache objects instead of {expected}")
    if not listed:
        return

    from ruamel.yaml import YAML

    entries = YAML(typ="safe").load(Path("dvc.yaml"))["artifacts"]
    tracked = [path for path in Path().rglob("*.dvc") if path.is_file()]
    if not len(entries) == len(tracked) == len(sources):
        raise SystemExit(
            f"{side}: {len(entries)} entries and {len(tracked)} .dvc files "
            f"instead of {len(sources)}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side")
    parser.add_argument("workload", choices=sorted(BY_NAME))
    parser.add_argument("sources", type=Path)
    parser.add_argument("scale", type=float)
    given = parser.parse_args()
    print(json.dumps(run(given.side, BY_NAME[given.workload], given.sources, given.scale)))
