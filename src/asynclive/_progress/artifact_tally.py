"""Counts and rows of the artifacts and pushes for a display, updated by their events."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from .._instrumentation.events import (
    ArtifactCancelled,
    ArtifactEvent,
    ArtifactFailed,
    ArtifactLogged,
    ArtifactStaged,
    ArtifactStaging,
    ArtifactSuperseded,
    Pushed,
    PushEvent,
    PushFailed,
    PushProgress,
)

END_EVENTS = (ArtifactLogged, ArtifactFailed, ArtifactSuperseded, ArtifactCancelled)


RowKey = tuple[int, int]
"""The number of a call and 0, or 0 and the number of a push. Both are counted from 1."""


@dataclass(eq=False, slots=True)
class Row:
    """The state of one artifact or push in flight."""

    key: RowKey
    name: str
    call: int | None
    """The number of the call; None: a push that belongs to no call."""
    place: tuple[int, int]
    """The rows are shown in this order. The push of a call has the place of the call."""
    stage: str = "queued"
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0

    @property
    def bytes_remaining(self) -> int:
        return self.bytes_total - self.bytes_done

    @property
    def is_push(self) -> bool:
        return self.key[0] == 0

    @property
    def is_moving(self) -> bool:
        """Whether its bytes are staged or sent in this stage."""
        return self.stage in ("staging", "pushing")

    @property
    def is_size_known(self) -> bool:
        return self.stage != "queued" and (not self.is_push or self.files_total > 0)

    @property
    def is_working(self) -> bool:
        """Whether bytes are being staged or sent. If not, it waits for a thread or a request."""
        return self.is_moving and (self.bytes_done > 0 or self.files_done > 0)

    @property
    def label(self) -> str:
        """The stage as a word for people."""
        if self.stage in ("queued", "staging"):
            return "staging" if self.is_working else "waiting"
        return "committing" if self.stage == "committed" else self.stage


@dataclass(eq=False, slots=True)
class Burst:
    """The counts since the last moment at which nothing was in flight."""

    calls: int = 0
    logged: int = 0
    failed: int = 0
    cancelled: int = 0
    superseded: int = 0
    ended_bytes: int = 0
    """Staged bytes of the artifacts that are no longer in flight."""
    pushes: int = 0
    pushed: int = 0
    not_pushed: int = 0
    ended_push_bytes: int = 0
    """Bytes in the remote, of the pushes that have ended."""
    began_at: float = 0.0


class Tally:
    """The counts of a session, and a row for each artifact and each push in flight.

    The event loop writes, and the drawing thread reads without a lock. One number may be newer
    than another by an event, which is not visible in a drawing.
    """

    def __init__(self) -> None:
        self.rows: dict[RowKey, Row] = {}
        """The artifacts and pushes in flight, which bound it."""
        self.burst = Burst()
        self.logged = self.failed = self.cancelled = self.superseded = 0
        self.pushed = self.not_pushed = 0
        self.bytes_logged = self.bytes_pushed = 0
        self.busy_seconds = 0.0
        """Seconds during which something was in flight, without the current burst."""
        self._last_call = 0

    def update(self, event: ArtifactEvent) -> None:
        """Count an event. Ignore the end of an artifact or a push that has no row."""
        if isinstance(event, PushEvent):
            self._update_push(event)
        else:
            self._update_artifact(event)

    def _update_artifact(self, event: ArtifactEvent) -> None:
        row = self.rows.get((event.call, 0))
        if isinstance(event, END_EVENTS):
            if row is not None:
                self._end_artifact(row, event)
            return
        if row is None:
            self._last_call = event.call
            key = (event.call, 0)
            row = self._begin(Row(key, event.name, event.call, key))
            self.burst.calls += 1
        if isinstance(event, ArtifactStaging):
            row.bytes_done, row.bytes_total = event.bytes_done, event.bytes_total
            row.files_done, row.files_total = event.files_done, event.files_total
        elif isinstance(event, ArtifactStaged):
            # Unchanged files were not read, so that no sample counted them. They are done, too.
            row.bytes_done = row.bytes_total = event.size
            row.files_done = row.files_total = event.nfiles
        row.stage = event.stage

    def _update_push(self, event: PushEvent) -> None:
        key = (0, event.push)
        row = self.rows.get(key)
        if isinstance(event, (Pushed, PushFailed)):
            if row is not None:
                self._end_push(row, event)
            return
        if row is None:
            place = (event.call or self._last_call, event.push)
            row = self._begin(Row(key, event.name or "all outputs", event.call or None, place))
            self.burst.pushes += 1
        if isinstance(event, PushProgress):
            row.bytes_done, row.bytes_total = event.bytes_done, event.bytes_total
            row.files_done, row.files_total = event.objects_done, event.objects_total
        row.stage = "pushing"

    def _begin(self, row: Row) -> Row:
        if not self.rows:
            self.burst = Burst(began_at=monotonic())
        self.rows[row.key] = row
        return row

    def _end_artifact(self, row: Row, event: ArtifactEvent) -> None:
        burst = self.burst
        if isinstance(event, ArtifactLogged):
            burst.logged += 1
            self.logged += 1
            self.bytes_logged += event.artifact.size
        elif isinstance(event, ArtifactFailed):
            burst.failed += 1
            self.failed += 1
        elif isinstance(event, ArtifactSuperseded):
            burst.superseded += 1
            self.superseded += 1
        else:
            burst.cancelled += 1
            self.cancelled += 1
        burst.ended_bytes += row.bytes_done
        self._end(row)

    def _end_push(self, row: Row, event: PushEvent) -> None:
        burst = self.burst
        if isinstance(event, Pushed):
            burst.pushed += 1
            self.pushed += 1
            self.bytes_pushed += event.result.bytes
            row.bytes_done = row.bytes_total
        else:
            burst.not_pushed += 1
            self.not_pushed += 1
        burst.ended_push_bytes += row.bytes_done
        self._end(row)

    def _end(self, row: Row) -> None:
        del self.rows[row.key]
        if not self.rows:
            self.busy_seconds += monotonic() - self.burst.began_at

    @property
    def seconds(self) -> float:
        """Seconds during which something was in flight, until now."""
        return self.busy_seconds + (monotonic() - self.burst.began_at if self.rows else 0.0)


class RowSelection:
    """Selects the rows to show if there are too many.

    A selected row stays selected while it is working, so that rows do not jump.
    """

    def __init__(self) -> None:
        self._keys: set[RowKey] = set()

    def select(self, rows: list[Row], limit: int) -> list[Row]:
        """Return at most ``limit`` rows in the order of the calls.

        1. Working rows of the last selection.
        2. Other working rows.
        3. Rows that wait to be staged or sent.
        4. Rows that are staged or committing.
        """
        if len(rows) > limit:
            kept = [row for row in rows if row.key in self._keys and row.is_working][:limit]
            keys = {row.key for row in kept}
            others = (row for row in rows if row.key not in keys)
            rows = kept + heapq.nsmallest(limit - len(kept), others, key=_idleness)
        self._keys = {row.key for row in rows}
        return sorted(rows, key=_place)


def _idleness(row: Row) -> tuple[bool, bool, tuple[int, int]]:
    return not row.is_working, not (row.is_moving or row.stage == "queued"), row.place


def _place(row: Row) -> tuple[int, int]:
    return row.place


def format_counts(counts: Mapping[str, int]) -> str:
    """Return the counts as text, without those that are 0: ``3 logged, 1 failed``."""
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count)
