"""Makes the lines that show the artifacts of one moment, fitted to the screen, styled by rich.

It uses rich for styles, as far as the terminal can show them, and for the width of letters.
rich's tables and live display take ten times as long, and the event loop waits for the GIL
during that time. Runs in the drawing thread. This module imports rich, so that it is imported
only when there is something to draw.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from .artifact_tally import Burst, Row, RowKey, RowSelection, Tally, format_counts
from .line_layout import Fields, Layout, shorten
from .screens import Line

# Limit of rows for artifacts. If there are more, the busiest are shown and the others counted.
MAX_ROWS = 8
# Limit of the width of a line, in cells: the eye must find the numbers that belong to a name.
MAX_WIDTH = 120
# The keys of the rates of all artifacts and of all pushes. Calls and pushes are numbered from 1.
_LOG_SUM: RowKey = (0, 0)
_PUSH_SUM: RowKey = (-1, 0)
_HTML = '<pre style="overflow-x:auto;line-height:normal">{code}</pre>'
# Rates are smoothed over this time: about half of a rate is from the last second.
_SMOOTHING_SECONDS = 1.5


class _Discard(io.StringIO):
    """A file that drops all text: the console's recordings are read instead."""

    def write(self, text: str, /) -> int:
        return len(text)


class _Measurement(NamedTuple):
    time: float
    bytes_done: int
    rate: float | None
    """Bytes a second; None if it is not known yet."""


class Rates:
    """Smoothed rates in bytes a second, one for each key."""

    def __init__(self) -> None:
        self._last: dict[RowKey, _Measurement] = {}

    def update(self, key: RowKey, bytes_done: int, now: float) -> float | None:
        """Add a measurement and return the rate, or None if it is not known yet."""
        last = self._last.get(key)
        if last is None or bytes_done < last.bytes_done:
            self._last[key] = _Measurement(now, bytes_done, None)
            return None
        seconds, rate = now - last.time, last.rate
        if seconds <= 0:
            return rate
        latest = (bytes_done - last.bytes_done) / seconds
        if rate is None:
            rate = latest if bytes_done > last.bytes_done else None
        else:
            share = min(1.0, seconds / _SMOOTHING_SECONDS)
            rate += share * (latest - rate)
        self._last[key] = _Measurement(now, bytes_done, rate)
        return rate

    def keep_only(self, keys: set[RowKey]) -> None:
        """Drop the rates of all other keys."""
        self._last = {key: last for key, last in self._last.items() if key in keys}


class Bars:
    """Makes the lines of one moment after the other, and styles them for a screen."""

    def __init__(self, *, colors: bool = True) -> None:
        # It renders texts, which are read from its capture or its recording.
        self._console = Console(
            file=_Discard(),
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            color_system="auto" if colors else None,
            width=MAX_WIDTH,
            record=True,
        )
        self._escapes: dict[str, tuple[str, str]] = {}
        """The escape sequences before and after a text, by style."""
        self._selection = RowSelection()
        self._rates = Rates()
        self._burst: object = None

    def lines(self, tally: Tally, columns: int, limit: int, now: float) -> list[Line]:
        """Return the lines of one moment, each of at most ``columns - 1`` cells.

        There are at most ``limit`` lines, except that the sum of the artifacts and that of the
        pushes are shown together.
        """
        # Copied in one step, because the event loop changes the dict at any time.
        rows = list(tally.rows.values())
        if not rows or limit < 1:
            return []
        burst = tally.burst
        if burst is not self._burst:
            self._burst, self._rates = burst, Rates()
        width = max(1, min(columns - 1, MAX_WIDTH))
        sums = self._sums(burst, rows, now)
        shown = _without_pushed_calls(rows)
        row_limit = min(MAX_ROWS, limit - len(sums))
        if len(shown) > row_limit:
            row_limit -= 1  # for the line that counts the others
        selected = self._selection.select(shown, max(0, row_limit))
        fields = [self._row_fields(row, now) for row in selected] + sums
        self._rates.keep_only({_LOG_SUM, _PUSH_SUM, *(row.key for row in selected)})
        lines: list[Line] = []
        if fields:
            layout = Layout.fitting(width, fields)
            lines = [layout.line(field) for field in fields]
        if len(shown) > len(selected) and row_limit >= 0:
            lines.insert(len(selected), _count_others(shown, selected, width))
        return lines[-max(limit, len(sums)) :]

    def ansi(self, lines: Sequence[Line]) -> list[str]:
        """Return the lines with the escape sequences of their styles, for a terminal."""
        return ["".join(self._with_escapes(text, style) for text, style in line) for line in lines]

    def _with_escapes(self, text: str, style: str) -> str:
        escapes = self._escapes.get(style)
        if escapes is None:
            with self._console.capture() as captured:
                self._console.print(Text("x", style), end="")
            before, _, after = captured.get().partition("x")
            escapes = self._escapes[style] = before, after
        return f"{escapes[0]}{text}{escapes[1]}"

    def html(self, lines: Sequence[Line]) -> str:
        """Return the lines as HTML, for a notebook."""
        text = Text("\n").join(Text.assemble(*line) for line in lines)
        self._console.print(text, soft_wrap=True)
        return self._console.export_html(inline_styles=True, code_format=_HTML)

    def _row_fields(self, row: Row, now: float) -> Fields:
        rate = self._rates.update(row.key, row.bytes_done, now) if row.is_moving else None
        return Fields(
            name=replace_unprintable(row.name),
            stage=row.label,
            done=row.bytes_done,
            total=row.bytes_total if row.is_size_known else None,
            rate=rate,
            remaining=row.bytes_remaining if row.is_moving else None,
        )

    def _sums(self, burst: Burst, rows: list[Row], now: float) -> list[Fields]:
        """Return the sum of the artifacts and that of the pushes, where there are several."""
        sums = []
        if burst.calls > 1:
            others = {
                "superseded": burst.superseded,
                "failed": burst.failed,
                "cancelled": burst.cancelled,
            }
            name = _sum_name(burst.logged, burst.calls, "logged", others)
            artifacts = [row for row in rows if not row.is_push]
            sums.append(self._sum_fields(_LOG_SUM, name, burst.ended_bytes, artifacts, now))
        if burst.pushes > 1:
            name = _sum_name(burst.pushed, burst.pushes, "pushed", {"failed": burst.not_pushed})
            pushes = [row for row in rows if row.is_push]
            sums.append(self._sum_fields(_PUSH_SUM, name, burst.ended_push_bytes, pushes, now))
        return sums

    def _sum_fields(
        self, key: RowKey, name: str, ended_bytes: int, rows: list[Row], now: float
    ) -> Fields:
        done = ended_bytes + sum(row.bytes_done for row in rows)
        total = ended_bytes + sum(row.bytes_total for row in rows)
        rate = self._rates.update(key, done, now) if rows else None  # all have ended
        total_is_known = all(row.is_size_known for row in rows)
        return Fields(
            name=name,
            stage="",
            done=done,
            total=total if total or total_is_known else None,
            rate=rate,
            remaining=total - done if total_is_known else None,
            is_sum=True,
        )


def _sum_name(done: int, of: int, outcome: str, others: Mapping[str, int]) -> str:
    return ", ".join(filter(None, (f"{done:,} of {of:,} {outcome}", format_counts(others))))


def _without_pushed_calls(rows: list[Row]) -> list[Row]:
    """Return the rows without the artifacts whose push has a row: an artifact has one bar."""
    pushed = {row.call for row in rows if row.is_push}
    return [row for row in rows if row.is_push or row.call not in pushed]


def _count_others(rows: list[Row], selected: list[Row], width: int) -> Line:
    """Return the line that counts the rows that are not selected, by stage."""
    keys = {row.key for row in selected}
    stages = Counter(row.label for row in rows if row.key not in keys).most_common()
    counts = ", ".join(f"{count:,} {stage}" for stage, count in stages)
    return [(shorten(f"and {counts}", width), "dim")]


def replace_unprintable(name: str) -> str:
    """Return ``name`` without control characters, so that it cannot send escape sequences."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
