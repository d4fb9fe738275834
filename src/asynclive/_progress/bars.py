"""What progress looks like: the lines for a moment, as wide as there is room, styled by rich.

Of rich its styles are used, as this terminal can show them, and what it knows of the width of
letters; its tables and its live display take ten times as long, and while they do the event loop
waits for the interpreter. Runs in the thread that draws. rich is imported here, by whoever
imports this, which nobody does before there is something to draw.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from .artifact_tally import Chosen, Row, Tally, outcomes
from .line_layout import Fields, Layout, shortened
from .screens import Line

# With more, the busiest are shown and the others counted.
MOST_ROWS = 8
# A line is no wider: the eye has to find its way from the name to its numbers.
WIDEST = 120
_HTML = '<pre style="overflow-x:auto;line-height:normal">{code}</pre>'
# How fast a rate follows what happens: half of it is from the last second or so (seconds).
_SMOOTHED_OVER = 1.5


class _Nowhere(io.StringIO):
    def write(self, text: str, /) -> int:
        return len(text)


class Rates:
    """Bytes a second, of every artifact and of all, smoothed."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int, float | None]] = {}
        """When it was looked at last, what it was then, and the rate."""

    def of(self, key: int, done: int, now: float) -> float | None:
        """The rate; None: not known yet."""
        before = self._seen.get(key)
        if before is None or done < before[1]:
            self._seen[key] = now, done, None
            return None
        at, was, rate = before
        if now <= at:
            return rate
        latest = (done - was) / (now - at)
        if rate is None:
            rate = latest if done > was else None
        else:
            share = min(1.0, (now - at) / _SMOOTHED_OVER)
            rate += share * (latest - rate)
        self._seen[key] = now, done, rate
        return rate

    def keep(self, keys: set[int]) -> None:
        """Forget the others."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}


class Bars:
    """Makes the lines, one moment after the other."""

    def __init__(self, *, colors: bool = True) -> None:
        # What it makes of a text is taken.
        self._console = Console(
            file=_Nowhere(),
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            color_system="auto" if colors else None,
            width=WIDEST,
            record=True,
        )
        self._painted: dict[str, tuple[str, str]] = {}
        """What a terminal is to be sent before and after a text, by style."""
        self._chosen = Chosen()
        self._rates = Rates()
        self._burst: object = None

    def lines(self, tally: Tally, columns: int, most: int, now: float) -> list[Line]:
        """None is wider than ``columns`` less one, and there are not more than ``most``."""
        # Copied in one step: the event loop goes on changing it.
        rows = list(tally.rows.values())
        if not rows or most < 1:
            return []
        burst = tally.burst
        if burst is not self._burst:
            self._burst, self._rates = burst, Rates()
        width = max(1, min(columns - 1, WIDEST))
        alone = burst.calls == 1
        room = min(MOST_ROWS, most if alone else most - 1)
        if len(rows) > room:
            room -= 1  # for the line that counts the others
        shown = self._chosen.choose(rows, max(0, room))
        fields = [self._row(row, now) for row in shown]
        self._rates.keep({0, *(row.call for row in shown)})
        if not alone:
            fields.append(self._all(tally, rows, now))
        layout = Layout.fitting(width, fields)
        made = [layout.line(field) for field in fields]
        if len(rows) > len(shown) and room >= 0:
            made.insert(len(shown), _others(rows, shown, width))
        return made[-most:]

    def ansi(self, lines: Sequence[Line]) -> list[str]:
        """As a terminal takes them."""
        return ["".join(self._paint(text, style) for text, style in line) for line in lines]

    def _paint(self, text: str, style: str) -> str:
        painted = self._painted.get(style)
        if painted is None:
            with self._console.capture() as captured:
                self._console.print(Text("x", style), end="")
            before, _, after = captured.get().partition("x")
            painted = self._painted[style] = before, after
        return f"{painted[0]}{text}{painted[1]}"

    def html(self, lines: Sequence[Line]) -> str:
        """As a notebook takes them."""
        text = Text("\n").join(Text.assemble(*line) for line in lines)
        self._console.print(text, soft_wrap=True)
        return self._console.export_html(inline_styles=True, code_format=_HTML)

    def _row(self, row: Row, now: float) -> Fields:
        working = row.stage == "staging"
        rate = self._rates.of(row.call, row.bytes_done, now) if working else None
        return Fields(
            name=shown_name(row.name),
            stage=row.word,
            done=row.bytes_done,
            total=row.bytes_total if row.stage != "queued" else None,
            rate=rate,
            left=row.bytes_left if working else None,
        )

    def _all(self, tally: Tally, rows: list[Row], now: float) -> Fields:
        burst = tally.burst
        done = burst.ended_bytes + sum(row.bytes_done for row in rows)
        total = burst.ended_bytes + sum(row.bytes_total for row in rows)
        others = outcomes(0, burst.failed, burst.cancelled, burst.superseded)
        rate = self._rates.of(0, done, now)
        known = all(row.stage != "queued" for row in rows)
        return Fields(
            name=f"{burst.logged:,} of {burst.calls:,} logged{', ' if others else ''}{others}",
            stage="",
            done=done,
            total=total,
            rate=rate,
            left=total - done if known else None,
            is_sum=True,
        )


def _others(rows: list[Row], shown: list[Row], width: int) -> Line:
    calls = {row.call for row in shown}
    stages = Counter(row.word for row in rows if row.call not in calls).most_common()
    said = ", ".join(f"{count:,} {stage}" for stage, count in stages)
    return [(shortened(f"and {said}", width), "dim")]


def shown_name(name: str) -> str:
    """A name that no terminal obeys."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
