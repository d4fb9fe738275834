"""Counters of an AsyncLive, and the record of them that users get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .._artifact.push_records import PushResult


@dataclass(frozen=True, slots=True)
class AsyncLiveStatistics:
    """The numbers of one moment, returned by :meth:`AsyncLive.statistics`.

    A call of ``submit`` or ``log_artifact`` in flight is in one of four states: ``waiting``,
    ``staging``, ``staged``, ``committing``. A call that has ended is ``logged``, ``failed``,
    ``cancelled`` or ``superseded``. A call that was refused before its path was scanned (no valid
    name, metadata that do not fit YAML, a conflict with another call) is not counted.

    Example::

        async with AsyncLive() as live:
            await live.log_artifact("model.pt")
            assert live.statistics().logged == 1
    """

    waiting: int
    """Calls whose paths are not scanned yet, or that wait because too much is pending."""
    staging: int
    """Calls whose bytes are being hashed and copied, or wait for a worker thread to do so."""
    staged: int
    """Calls whose bytes are all in the cache. They wait for the next group and for DVC's lock, or
    for an earlier call of the same path or name."""
    committing: int
    """Calls in a group that is being committed."""
    logged: int
    """Calls whose artifacts are logged: those that returned, and those that were cancelled when
    their group was already committing."""
    failed: int
    """Calls that raised an error."""
    cancelled: int
    """Calls that were cancelled before their group was committing. Nothing of them was logged."""
    superseded: int
    """Calls with ``latest_wins`` that a later call replaced."""
    files_staged: int
    """Files that were read, and hashed or copied. A large file counts when it is done. This and
    the next three counts include artifacts that were not logged."""
    bytes_staged: int
    """Bytes of these files."""
    files_unchanged: int
    """Files that were not read, because their size, mtime and inode match a cached hash."""
    bytes_unchanged: int
    """Bytes of these files."""
    group_sizes: Mapping[int, int]
    """The number of committed groups of each size, by the number of artifacts in the group."""
    busy_workers: int
    """Worker threads that are reading, hashing or copying."""
    total_workers: int
    """The limit on worker threads."""
    pushing: int = 0
    """Pushes that look for objects in the remote, and send them."""
    pushed: int = 0
    """Pushes that have ended: their objects are in the remote, and proven."""
    push_failed: int = 0
    """Pushes that ended by an error."""
    push_cancelled: int = 0
    """Pushes that were cancelled, or dropped when the block was left by an exception."""
    objects_pushed: int = 0
    """Objects that these pushes have sent. Counted when a push has ended."""
    bytes_pushed: int = 0
    """Bytes of these objects."""

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
    """The counters of one session. Used on the event loop only, so that they need no lock."""

    stages: Counter[str] = field(default_factory=Counter)
    """Number of calls in each stage, and with each outcome."""
    files_staged: int = 0
    bytes_staged: int = 0
    files_unchanged: int = 0
    bytes_unchanged: int = 0
    group_sizes: dict[int, int] = field(default_factory=dict)
    """Number of groups by size. The limit on a group bounds the number of keys."""
    pushes: Counter[str] = field(default_factory=Counter)
    """Number of pushes in each stage, and with each outcome."""
    objects_pushed: int = 0
    bytes_pushed: int = 0

    def change_stage(self, before: str | None, now: str) -> None:
        """Count that a call went from stage ``before`` to stage ``now``; None: the call is new."""
        if before is not None:
            self.stages[before] -= 1
        self.stages[now] += 1

    def change_push(self, before: str, now: str, result: PushResult | None) -> None:
        """Count that a push went from stage ``before`` to ``now``, and the objects of its result.

        A push that waits for its artifact is not counted.
        """
        if before != "waiting":
            self.pushes[before] -= 1
        self.pushes[now] += 1
        if result is not None:
            self.objects_pushed += result.objects
            self.bytes_pushed += result.bytes

    def count_staged(self, files: int, size: int) -> None:
        """Count files that were read and hashed or copied, and their bytes."""
        self.files_staged += files
        self.bytes_staged += size

    def count_unchanged(self, files: int, size: int) -> None:
        """Count files that were not read, and their bytes."""
        self.files_unchanged += files
        self.bytes_unchanged += size

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
        """Count a committed group of ``size`` artifacts."""
        self.group_sizes[size] = self.group_sizes.get(size, 0) + 1

    def statistics(self, *, busy_workers: int, total_workers: int) -> AsyncLiveStatistics:
        """Return the numbers of this moment."""
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
            pushing=self.pushes["pushing"],
            pushed=self.pushes["pushed"],
            push_failed=self.pushes["failed"],
            push_cancelled=self.pushes["cancelled"],
            objects_pushed=self.objects_pushed,
            bytes_pushed=self.bytes_pushed,
        )
