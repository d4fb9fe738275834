"""A limit on open files, as low as a test needs it."""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice


@contextmanager
def at_most_more_open_files(count: int) -> Iterator[None]:
    """Opening more than so many files fails in the block, as it would at any limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest number that is free is always taken. Some above the limit may be open already.
    taken = set(map(int, os.listdir("/dev/fd")))
    limit = next(islice((n for n in itertools.count() if n not in taken), count, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
