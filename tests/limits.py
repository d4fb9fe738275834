"""Lower the limit on open files."""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice


@contextmanager
def at_most_more_open_files(count: int) -> Iterator[None]:
    """Let the block open ``count`` more files; opening another one fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel gives out the lowest free number. Some numbers above may be open already.
    taken = set(map(int, os.listdir("/dev/fd")))
    limit = next(islice((n for n in itertools.count() if n not in taken), count, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
