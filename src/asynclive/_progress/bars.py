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

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from .artifact_tally import Chosen, Row, Tally, outcomes
from .screens import Line
from .units import amount, duration, size

# With more, the busiest are shown and the others counted.
MOST_ROWS = 8
# A line is no wider: the eye has to find its way from the name to its numbers.
WIDEST = 120
_NAME_CELLS = 32
_BAR_CELLS = 40
_FEWEST_BAR_CELLS = 8
_GAP = ("  ", "")
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


class Fields:
    """What a line says, before it is known how wide each part may be."""

    __slots__ = ("amount", "done", "is_sum", "name", "rate", "stage", "time", "total")

    def __init__(
        self,
        *,
        name: str,
        stage: str,
        done: int,
        total: int | None,
        rate: float | None,
        left: int | None,
        is_sum: bool = False,
    ) -> None:
        self.name = name
        self.stage = stage
        self.done = done
        self.total = total
        self.is_sum = is_sum
        self.amount = "" if total is None else amount(done, total)
        self.rate = "" if rate is None else f"{size(rate)}/s"
        self.time = "" if not rate or left is None else duration(left / rate)


class Layout:
    """How wide the parts are: what matters least goes first where there is no room."""

    def __init__(self, width: int, fields: list[Fields]) -> None:
        self.width = width
        rows = [each for each in fields if not each.is_sum]
        self.name = min(_NAME_CELLS, max((cell_len(each.name) for each in rows), default=0))
        self.stage = len("committing")
        # The sum has both columns for what it says.
        longest = max(cell_len(each.name) for each in fields)
        self.name = max(self.name, min(_NAME_CELLS, longest - 2 - self.stage), 1)
        self.amount = max(len("1000/1000 MiB"), *(len(each.amount) for each in fields))
        # As wide as it may get, or the columns would jump.
        self.rate = len("1023 MiB/s")
        self.time = len("59:59")
        self.bar = _BAR_CELLS

    @classmethod
    def fitting(cls, width: int, fields: list[Fields]) -> Layout:
        layout = cls(width, fields)
        for part in ("time", "rate", "bar", "amount", "stage"):
            if layout._make_fit():
                return layout
            setattr(layout, part, 0)
        layout.name = max(1, min(layout.name, width))
        return layout

    def _make_fit(self) -> bool:
        """Shorten the bar and the name as far as is sensible; whether all fits then."""
        over = self._used - self.width
        if over > 0 and self.bar:
            shorter = min(over, self.bar - _FEWEST_BAR_CELLS)
            self.bar -= shorter
            over -= shorter
        if over > 0:
            shorter = min(over, max(0, self.name - 12))
            if shorter == over:
                self.name -= shorter
                over = 0
        return over <= 0

    @property
    def _used(self) -> int:
        parts = (self.name, self.stage, self.bar, self.amount, self.rate, self.time)
        return sum(parts) + 2 * (sum(map(bool, parts)) - 1)

    def line(self, fields: Fields) -> Line:
        # The sum has the column of the stage too.
        first = self.name + (2 + self.stage if fields.is_sum and self.stage else 0)
        name = padded(shortened(fields.name, first), first)
        line = [(name, "bold" if fields.is_sum else "")]
        if self.stage and not fields.is_sum:
            stage = fields.stage.ljust(self.stage)
            line += [_GAP, (stage, "cyan" if fields.stage == "staging" else "dim")]
        if self.bar:
            line += [_GAP, *bar(fields.done, fields.total, self.bar)]
        for text, width, style in (
            (fields.amount, self.amount, "progress.download"),
            (fields.rate, self.rate, "progress.data.speed"),
            (fields.time, self.time, "progress.remaining"),
        ):
            if width:
                line += [_GAP, (text.rjust(width), style)]
        return line


def _others(rows: list[Row], shown: list[Row], width: int) -> Line:
    calls = {row.call for row in shown}
    stages = Counter(row.word for row in rows if row.call not in calls).most_common()
    said = ", ".join(f"{count:,} {stage}" for stage, count in stages)
    return [(shortened(f"and {said}", width), "dim")]


def bar(done: int, total: int | None, cells: int) -> Line:
    """A bar of so many cells, in pieces with rich's styles for bars."""
    # An artifact without bytes is done as soon as it is known to have none.
    share = 0.0 if total is None else 1.0 if not total else min(1.0, done / total)
    halves = int(share * 2 * cells)
    if halves == 2 * cells:
        return [("━" * cells, "bar.finished")]
    full, half = divmod(halves, 2)
    rest = cells - full - half
    return [
        ("━" * full + "╸" * half, "bar.complete"),
        ("━" * rest if halves % 2 or not full else "╺" + "━" * (rest - 1), "bar.back"),
    ]


def shown_name(name: str) -> str:
    """A name that no terminal obeys."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def shortened(text: str, cells: int) -> str:
    """No wider than so many cells; what is left out is in the middle: ends tell names apart."""
    if cell_len(text) <= cells:
        return text
    head, tail = "", ""
    letters = list(text)
    room = cells - 1
    while letters:
        taken = letters[-1] if cell_len(tail) <= cell_len(head) else letters[0]
        if cell_len(head) + cell_len(tail) + cell_len(taken) > room:
            break
        if cell_len(tail) <= cell_len(head):
            tail = letters.pop() + tail
        else:
            head += letters.pop(0)
    return f"{head}…{tail}" if cells > 0 else ""


def padded(text: str, cells: int) -> str:
    return text + " " * (cells - cell_len(text))
