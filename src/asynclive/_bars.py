"""What progress looks like: the lines for a moment, as wide as there is room, styled by rich.

Of rich only its texts are used, one a line: its tables and its live display take several times
as long, and while they do the event loop waits for the interpreter. Runs in the thread that
draws. rich is imported here, by whoever imports this, which nobody does before there is
something to draw.
"""

from __future__ import annotations

import io
from collections import Counter

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ._tally import Chosen, Row, Tally, outcomes
from ._units import amount, duration, size

# With more, the busiest are shown and the others counted.
MOST_ROWS = 8
# A line is no wider: the eye has to find its way from the name to its numbers.
WIDEST = 120
_NAME_CELLS = 32
_BAR_CELLS = 40
_FEWEST_BAR_CELLS = 8
_WORDS = {"committed": "committing"}
# How fast a rate follows what happens: half of it is from the last second or so (seconds).
_SMOOTHED_OVER = 1.5


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
        # Writes nowhere: what it makes of a text is taken.
        self._console = Console(
            file=io.StringIO(),
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            color_system="auto" if colors else None,
            width=WIDEST,
        )
        self._chosen = Chosen()
        self._rates = Rates()
        self._burst: object = None

    def texts(self, tally: Tally, columns: int, lines: int, now: float) -> list[Text]:
        """The lines, none wider than ``columns`` less one, and not more than ``lines``."""
        # Copied in one step: the event loop goes on changing it.
        rows = list(tally.rows.values())
        if not rows or lines < 1:
            return []
        burst = tally.burst
        if burst is not self._burst:
            self._burst, self._rates = burst, Rates()
        width = max(1, min(columns - 1, WIDEST))
        alone = burst.calls == 1
        most = min(MOST_ROWS, lines if alone else lines - 1)
        if len(rows) > most:
            most -= 1  # for the line that counts the others
        shown = self._chosen.choose(rows, max(0, most))
        fields = [self._row(row, now) for row in shown]
        self._rates.keep({0, *(row.call for row in shown)})
        if not alone:
            fields.append(self._all(tally, rows, now))
        layout = Layout.fitting(width, fields)
        texts = [layout.line(field) for field in fields]
        if len(rows) > len(shown) and most >= 0:
            where = len(texts) - (not alone)
            texts.insert(where, _others(rows, shown, width))
        return texts[-lines:]

    def ansi(self, texts: list[Text]) -> list[str]:
        """As a terminal takes them."""
        lines = []
        for text in texts:
            segments = self._console.render(text, self._console.options.update(no_wrap=True))
            lines.append(self._console._render_buffer(segments).rstrip("\n"))
        return lines

    def html(self, texts: list[Text]) -> str:
        """As a notebook takes them."""
        from rich.jupyter import _render_segments

        return _render_segments(self._console.render(Text("\n").join(texts)))

    def _row(self, row: Row, now: float) -> Fields:
        working = row.stage == "staging"
        rate = self._rates.of(row.call, row.bytes_done, now) if working else None
        return Fields(
            name=shown_name(row.name),
            stage=_WORDS.get(row.stage, row.stage),
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

    def line(self, fields: Fields) -> Text:
        parts: list[tuple[str, str]] = []

        def add(text: str, style: str) -> None:
            if parts:
                parts.append(("  ", ""))
            parts.append((text, style))

        first = self.name + (2 + self.stage if fields.is_sum and self.stage else 0)
        add(padded(shortened(fields.name, first), first), "bold" if fields.is_sum else "")
        if self.stage and not fields.is_sum:
            add(fields.stage.ljust(self.stage), "dim" if fields.stage != "staging" else "cyan")
        if self.bar:
            parts.append(("  ", ""))
            parts += bar(fields.done, fields.total, self.bar)
        if self.amount:
            add(fields.amount.rjust(self.amount), "progress.download")
        if self.rate:
            add(fields.rate.rjust(self.rate), "progress.data.speed")
        if self.time:
            add(fields.time.rjust(self.time), "progress.remaining")
        text = Text.assemble(*parts, no_wrap=True, overflow="crop", end="")
        text.rstrip()
        return text


def _others(rows: list[Row], shown: list[Row], width: int) -> Text:
    calls = {row.call for row in shown}
    stages = Counter(
        _WORDS.get(row.stage, row.stage) for row in rows if row.call not in calls
    ).most_common()
    said = ", ".join(f"{count:,} {stage}" for stage, count in stages)
    return Text(shortened(f"and {said}", width), style="dim", no_wrap=True, end="")


def bar(done: int, total: int | None, cells: int) -> list[tuple[str, str]]:
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
