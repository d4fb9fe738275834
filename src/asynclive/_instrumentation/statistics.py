"""What an AsyncLive is doing, and what it has done: counted as it happens, read at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class AsyncLiveStatistics:
    """What :meth:`AsyncLive.statistics` returns: the numbers of one moment.

    A call of ``submit`` or ``log_artifact`` that is in flight is in one of four states:
    ``waiting``, ``staging``, ``staged``, ``committing``. One that has ended is ``logged``,
    ``failed``, ``cancelled`` or ``superseded``. One that was refused before anything was looked
    at (no valid name, metadata that do not fit YAML, a conflict with another call) is in none.

    Example::

        async with AsyncLive() as live:
            await live.log_artifact("model.pt")
            assert live.statistics().logged == 1
    """

    waiting: int
    """Calls made; what their paths hold is not known yet, or there is no room for it yet."""
    staging: int
    """Being hashed and copied, or waiting for a worker thread between two steps of that."""
    staged: int
    """All bytes are in the cache; they wait for the next group, and for DVC's lock, or for an
    earlier one of the same path or name to be logged."""
    committing: int
    """In a group that is being committed."""
    logged: int
    """Calls whose artifacts are logged: those that have returned, and those that were cancelled
    when their group was committing already."""
    failed: int
    """Calls that have raised."""
    cancelled: int
    """Calls that were cancelled before that, of which nothing is left."""
    superseded: int
    """Calls with ``latest_wins`` in whose place a later one was logged."""
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

    stages: Counter[str] = field(default_factory=Counter)
    """How many calls are, or have ended, in each stage."""
    files_staged: int = 0
    bytes_staged: int = 0
    files_unchanged: int = 0
    bytes_unchanged: int = 0
    group_sizes: dict[int, int] = field(default_factory=dict)
    """Bounded by the largest group there may be."""

    def moved(self, before: str | None, now: str) -> None:
        """A call has come from one stage to the next; None: it is new."""
        if before is not None:
            self.stages[before] -= 1
        self.stages[now] += 1

    def replace_work(
        self,
        *,
        files_staged: int,
        bytes_staged: int,
        files_unchanged: int,
        bytes_unchanged: int,
        group_sizes: dict[int, int],
    ) -> None:
        """Replace the counters of files, bytes and groups by those that worker processes report."""
        self.files_staged = files_staged
        self.bytes_staged = bytes_staged
        self.files_unchanged = files_unchanged
        self.bytes_unchanged = bytes_unchanged
        self.group_sizes = group_sizes

    def count_group(self, size: int) -> None:
        self.group_sizes[size] = self.group_sizes.get(size, 0) + 1

    def statistics(self, *, busy_workers: int, total_workers: int) -> AsyncLiveStatistics:
        """Return the record; the arguments are of this moment."""
        stages = self.stages
        return AsyncLiveStatistics(
            waiting=stages["queued"],
            staging=stages["staging"],
            staged=stages["staged"],
            committing=stages["committing"],
            logged=stages["logged"],
            failed=stages["failed"],
            cancelled=stages["cancelled"],
            superseded=stages["superseded"],
            files_staged=self.files_staged,
            bytes_staged=self.bytes_staged,
            files_unchanged=self.files_unchanged,
            bytes_unchanged=self.bytes_unchanged,
            group_sizes=MappingProxyType(dict(sorted(self.group_sizes.items()))),
            busy_workers=busy_workers,
            total_workers=total_workers,
        )
