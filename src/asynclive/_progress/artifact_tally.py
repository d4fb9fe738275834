"""What a display needs to know of all artifacts, kept up to date by their events."""

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

ENDED = (ArtifactLogged, ArtifactFailed, ArtifactSuperseded, ArtifactCancelled)


@dataclass(eq=False, slots=True)
class Row:
    """One artifact in flight."""

    call: int
    name: str
    stage: str = "queued"
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0

    @property
    def bytes_left(self) -> int:
        return self.bytes_total - self.bytes_done

    @property
    def works(self) -> bool:
        """Its bytes are being read, and it has not only its turn to wait for."""
        return self.stage == "staging" and (self.bytes_done > 0 or self.files_done > 0)

    @property
    def word(self) -> str:
        """Where it is, in a word for people."""
        if self.stage in ("queued", "staging"):
            return "staging" if self.works else "waiting"
        return "committing" if self.stage == "committed" else self.stage


@dataclass(eq=False, slots=True)
class Burst:
    """The artifacts since nothing was in flight the last time."""

    calls: int = 0
    logged: int = 0
    failed: int = 0
    cancelled: int = 0
    superseded: int = 0
    ended_bytes: int = 0
    """Bytes of those that are not in flight any more."""
    began_at: float = 0.0


class Tally:
    """Written on the event loop, read by the thread that draws: one number may be newer than
    another, which nobody sees.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        """Those in flight, by call; bounded as they are."""
        self.burst = Burst()
        self.logged = self.failed = self.cancelled = self.superseded = 0
        self.bytes_logged = 0
        self.busy_seconds = 0.0
        """In which something was in flight."""

    def take(self, event: ArtifactEvent) -> None:
        row = self.rows.get(event.call)
        if isinstance(event, ENDED):
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
            # What was known already was not read, and is done all the same.
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
        """In which something was in flight, until now."""
        return self.busy_seconds + (monotonic() - self.burst.began_at if self.rows else 0.0)


class Chosen:
    """Which rows are shown where there is no room for all: the same ones as long as they work."""

    def __init__(self) -> None:
        self._calls: set[int] = set()

    def choose(self, rows: list[Row], most: int) -> list[Row]:
        """At most so many, in the order of the calls: those at work, and those that are next."""
        if len(rows) > most:
            kept = [row for row in rows if row.call in self._calls and row.works][:most]
            calls = {row.call for row in kept}
            others = (row for row in rows if row.call not in calls)
            rows = kept + heapq.nsmallest(most - len(kept), others, key=_idleness)
            rows.sort(key=lambda row: row.call)
        self._calls = {row.call for row in rows}
        return rows


def _idleness(row: Row) -> tuple[bool, bool, int]:
    return not row.works, row.stage not in ("queued", "staging"), row.call


def outcomes(logged: int, failed: int, cancelled: int, superseded: int) -> str:
    """In words, less what there is none of: ``3 logged, 1 failed``."""
    counts = {"logged": logged, "superseded": superseded, "failed": failed, "cancelled": cancelled}
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
