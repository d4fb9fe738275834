"""What an AsyncLive is doing, and what it has done: counted as it happens, read at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class AsyncLiveStatistics:
    """What :meth:`AsyncLive.statistics` returns: the numbers of one moment.

    A call of ``log_artifact`` that is in flight is in one of four states: ``waiting``,
    ``staging``, ``staged``, ``committing``. One that has ended is ``logged``, ``failed`` or
    ``cancelled``. One that was refused before anything was looked at (no valid name, metadata
    that do not fit YAML, a conflict with another call) is in none.

    Example::

        async with AsyncLive() as live:
            await live.log_artifact("model.pt")
            assert live.statistics().logged == 1
    """

    waiting: int
    """Calls made; what their paths hold is not known yet."""
    staging: int
    """Being hashed and copied, or waiting for a worker thread between two steps of that."""
    staged: int
    """All bytes are in the cache; they wait for the next group, and for DVC's lock."""
    committing: int
    """In a group that is being committed."""
    logged: int
    """Calls whose artifacts are logged: those that have returned, and those that were cancelled
    when their group was committing already."""
    failed: int
    """Calls that have raised."""
    cancelled: int
    """Calls that were cancelled before that, of which nothing is left."""
    files_staged: int
    """Files read, and hashed or copied, a large one once it is done. They count whatever becomes
    of their artifacts; so do the next three."""
    bytes_staged: int
    """Bytes of these files."""
    files_unchanged: int
    """Files that DVC knows by their size, time and inode, and that were not read."""
    bytes_unchanged: int
    """Bytes of these files."""
    group_sizes: Mapping[int, int]
    """Committed groups: number of artifacts in a group to number of such groups."""
    busy_workers: int
    """Worker threads at work on the artifacts' bytes."""
    total_workers: int
    """Worker threads there may be at once."""

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return self.waiting + self.staging + self.staged + self.committing

    @property
    def groups(self) -> int:
        """Groups committed, each under one hold of DVC's lock."""
        return sum(self.group_sizes.values())


@dataclass(slots=True)
class Counters:
    """What is counted on the way. Only on the event loop, so that no lock is needed."""

    staging: int = 0
    submitted: int = 0
    """Staged or committing."""
    logged: int = 0
    failed: int = 0
    cancelled: int = 0
    files_staged: int = 0
    bytes_staged: int = 0
    files_unchanged: int = 0
    bytes_unchanged: int = 0
    group_sizes: dict[int, int] = field(default_factory=dict)
    """Bounded by the largest group there may be."""

    @contextmanager
    def one(self, state: Literal["staging", "submitted"]) -> Iterator[None]:
        """One call is in this state while the block runs."""
        setattr(self, state, getattr(self, state) + 1)
        try:
            yield
        finally:
            setattr(self, state, getattr(self, state) - 1)

    def count_group(self, size: int) -> None:
        self.group_sizes[size] = self.group_sizes.get(size, 0) + 1

    def statistics(
        self, *, in_flight: int, staged: int, busy_workers: int, total_workers: int
    ) -> AsyncLiveStatistics:
        """Return the record; the arguments are of this moment."""
        return AsyncLiveStatistics(
            waiting=in_flight - self.staging - self.submitted,
            staging=self.staging,
            staged=staged,
            committing=self.submitted - staged,
            logged=self.logged,
            failed=self.failed,
            cancelled=self.cancelled,
            files_staged=self.files_staged,
            bytes_staged=self.bytes_staged,
            files_unchanged=self.files_unchanged,
            bytes_unchanged=self.bytes_unchanged,
            group_sizes=MappingProxyType(dict(sorted(self.group_sizes.items()))),
            busy_workers=busy_workers,
            total_workers=total_workers,
        )
