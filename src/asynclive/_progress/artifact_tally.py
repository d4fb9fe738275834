"""Counts and rows of the artifacts for a display, updated by their events."""

from __future__ import annotations

import heapq
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
)

END_EVENTS = (ArtifactLogged, ArtifactFailed, ArtifactSuperseded, ArtifactCancelled)


@dataclass(eq=False, slots=True)
class Row:
    """The state of one artifact in flight."""

    call: int
    name: str
    stage: str = "queued"
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0

    @property
    def bytes_remaining(self) -> int:
        return self.bytes_total - self.bytes_done

    @property
    def is_working(self) -> bool:
        """Whether bytes of the artifact are being staged. If not, it waits for a worker thread."""
        return self.stage == "staging" and (self.bytes_done > 0 or self.files_done > 0)

    @property
    def label(self) -> str:
        """The stage as a word for people."""
        if self.stage in ("queued", "staging"):
            return "staging" if self.is_working else "waiting"
        return "committing" if self.stage == "committed" else self.stage


@dataclass(eq=False, slots=True)
class Burst:
    """The counts since the last moment at which no artifact was in flight."""

    calls: int = 0
    logged: int = 0
    failed: int = 0
    cancelled: int = 0
    superseded: int = 0
    ended_bytes: int = 0
    """Staged bytes of the artifacts that are no longer in flight."""
    began_at: float = 0.0


class Tally:
    """The counts of a session, and a row for each artifact in flight.

    The event loop writes, and the drawing thread reads without a lock. One number may be newer
    than another by an event, which is not visible in a drawing.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        """The artifacts in flight, by the number of their call. The calls in flight bound it."""
        self.burst = Burst()
        self.logged = self.failed = self.cancelled = self.superseded = 0
        self.bytes_logged = 0
        self.busy_seconds = 0.0
        """Seconds during which artifacts were in flight, without the current burst."""

    def update(self, event: ArtifactEvent) -> None:
        """Count an event. Ignore the end of an artifact that has no row."""
        row = self.rows.get(event.call)
        if isinstance(event, END_EVENTS):
            if row is not None:
                self._end(row, event)
            return
        if row is None:
            if not self.rows:
                self.burst = Burst(began_at=monotonic())
            row = Row(event.call, event.name)
            self.burst.calls += 1
            self.rows[event.call] = row
        if isinstance(event, ArtifactStaging):
            row.bytes_done, row.bytes_total = event.bytes_done, event.bytes_total
            row.files_done, row.files_total = event.files_done, event.files_total
        elif isinstance(event, ArtifactStaged):
            # Unchanged files were not read, so that no sample counted them. They are done, too.
            row.bytes_done = row.bytes_total = event.size
            row.files_done = row.files_total = event.nfiles
        row.stage = event.stage

    def _end(self, row: Row, event: ArtifactEvent) -> None:
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
        del self.rows[row.call]
        if not self.rows:
            self.busy_seconds += monotonic() - burst.began_at

    @property
    def seconds(self) -> float:
        """Seconds during which artifacts were in flight, until now."""
        return self.busy_seconds + (monotonic() - self.burst.began_at if self.rows else 0.0)


class RowSelection:
    """Selects the rows to show if there are too many.

    A selected row stays selected while it is working, so that rows do not jump.
    """

    def __init__(self) -> None:
        self._calls: set[int] = set()

    def select(self, rows: list[Row], limit: int) -> list[Row]:
        """Return at most ``limit`` rows in the order of the calls.

        1. Working rows of the last selection.
        2. Other working rows.
        3. Rows that wait to be staged.
        4. Rows that are staged or committing.
        """
        if len(rows) > limit:
            kept = [row for row in rows if row.call in self._calls and row.is_working][:limit]
            calls = {row.call for row in kept}
            others = (row for row in rows if row.call not in calls)
            rows = kept + heapq.nsmallest(limit - len(kept), others, key=_idleness)
            rows.sort(key=lambda row: row.call)
        self._calls = {row.call for row in rows}
        return rows


def _idleness(row: Row) -> tuple[bool, bool, int]:
    return not row.is_working, row.stage not in ("queued", "staging"), row.call


def format_outcomes(logged: int, failed: int, cancelled: int, superseded: int) -> str:
    """Return the counts as text, without those that are 0: ``3 logged, 1 failed``."""
    counts = {"logged": logged, "superseded": superseded, "failed": failed, "cancelled": cancelled}
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count)
